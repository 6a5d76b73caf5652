"""The two TODOs of exercise4_steer.py, tried on small tensors: what do they do?"""

import torch

from checks.sampler_todos import AGREE, tell
from checks.todos import attempt, check_tensor, hint
from ddpm.sampling import draw_noise


def check_guide(guide):
    """TODO 1: (1 - w) without + w with_label. UserError with a hint if it is not."""
    without, with_label = draw_noise([1, 2], 8), draw_noise([3, 4], 8)
    for w in (3.0, 0.25, 1.0):
        mistakes = [
            (w, 1 - w, "goes from the label to no label: swap the two."),
            (1 + w, -w, "goes away from the label: subtract the other way round."),
            (-w, 1 + w, "begins at `with_label`: begin at `without`."),
            (-w, w, "gives the way alone: add it to `without`."),
            (1, w, "adds the whole answer: go the way, with_label - without."),
            (0, w, "forgets the answer without a label."),
            (1, 0, "does not hear the label."),
            (0, 1, "gives the answer with the label, whatever the weight."),
            (-1, 2, "goes twice the way, whatever the weight."),
        ]
        arguments, names = (without, with_label, w), ("without", "with_label")
        tell(1, guide, arguments, names, (1 - w, w), mistakes, "weight")


def check_put_back(put_back):
    """TODO 2: known where mask is 1, drawn where it is 0. UserError if it is not."""
    drawn, known = draw_noise([1, 2], 8), draw_noise([3, 4], 8)
    mask = (draw_noise([5], 8)[0, 0] > 0).float()  # (8, 8), as many 1 as 0
    given = drawn.clone(), known.clone(), mask.clone()
    result = attempt(2, put_back, *given)
    check_tensor(2, put_back, result, drawn)
    if not all(map(torch.equal, given, (drawn, known, mask))):
        text = "changes what it is handed: make a new tensor, without += or mul_."
        raise hint(2, put_back, text)
    mistakes = [
        (mask * drawn + (1 - mask) * known, "keeps the wrong pixels: swap the two."),
        (mask * known, "leaves the holes empty: add what is drawn there."),
        ((1 - mask) * drawn, "leaves out what is known: add it, where mask is 1."),
        (mask * known + drawn, "has `drawn` everywhere: weigh it with 1 - mask."),
        (known + (1 - mask) * drawn, "has `known` everywhere: weigh it with mask."),
        (mask * known + 1 - mask * drawn, "lacks brackets: (1 - mask) * drawn."),
        (mask * known - (1 - mask) * drawn, "takes `drawn` away: add it."),
        (known + drawn, "does not look at the mask: weigh each of the two."),
        (drawn, "gives what is drawn, and keeps nothing."),
        (known, "gives `known` in the holes, too, where nothing is known."),
    ]
    for wrong, text in mistakes:
        if torch.allclose(result.float(), wrong, atol=AGREE):
            raise hint(2, put_back, text)
    wanted = torch.where(mask > 0, known, drawn)
    off = (result - wanted).abs().gt(AGREE).expand_as(drawn)
    if off.any():
        value, right = result.expand_as(drawn)[off][0], wanted[off][0]
        where = f"where mask is {mask.expand_as(drawn)[off][0]:g}"
        text = f"gives {value:.2f} in place of {right:.2f} at a pixel {where}."
        raise hint(2, put_back, text)
