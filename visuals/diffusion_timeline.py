"""The history of diffusion models until today, down one line."""

import textwrap

from visuals.style import FAINT, MARGIN, NETWORK, SMALL, SOFT, save_both, sheet

# Year on arXiv, who or what, its contribution, and whether this module teaches it.
HISTORY = (
    (
        "2015",
        "Sohl-Dickstein et al.",
        "Destroy data by a slow diffusion, and learn to undo it",
        True,
    ),
    (
        "2019",
        "Song and Ermon",
        "At many noise levels, learn which way the data lie",
        True,
    ),
    (
        "2020",
        "DDPM, Ho et al.",
        "Predict the noise: a plain regression, and sharp pictures",
        True,
    ),
    (
        "2020",
        "DDIM, Song et al.",
        "The same network without fresh noise: far fewer steps",
        True,
    ),
    (
        "2021",
        "Improved DDPM, Nichol and Dhariwal",
        "Cosine schedule: the picture fades more evenly",
        True,
    ),
    (
        "2021",
        "Dhariwal and Nichol",
        "Ahead of GANs on ImageNet; a classifier asks for a class",
        True,
    ),
    (
        "2021",
        "Latent diffusion, Rombach et al.",
        "Diffuse in the small latent space of an autoencoder",
        False,
    ),
    (
        "2022",
        "v-prediction, Salimans and Ho",
        "A target that is sound at every noise level",
        True,
    ),
    ("2022", "Video diffusion, Ho et al.", "The U-Net looks along time, too", False),
    ("2022", "DALL-E 2, Ramesh et al.", "From a sentence to a picture", False),
    (
        "2022",
        "Classifier-free guidance, Ho and Salimans",
        "Ask with and without the label, and exaggerate",
        True,
    ),
    (
        "2022",
        "Flow matching, Lipman et al.",
        "Learn the velocity of straight paths from noise to data",
        True,
    ),
    ("2022", "DPM-Solver++, Lu et al.", "A higher-order solver: 15 to 20 steps", True),
    (
        "2022",
        "Diffusion transformers, Peebles and Xie",
        "A transformer in place of the U-Net",
        False,
    ),
    (
        "2023",
        "Consistency models, Song et al.",
        "One network call, or two, from noise to picture",
        False,
    ),
    (
        "2024",
        "Stable Diffusion 3, Esser et al.",
        "Text to image by flow matching and a transformer",
        False,
    ),
    (
        "2024",
        "Movie Gen, Polyak et al.",
        "Text to video with sound, by flow matching",
        False,
    ),
    (
        "2025",
        "LLaDA, Nie et al.",
        "Text, too: words are masked, and filled in step by step",
        False,
    ),
    (
        "2025",
        "Mean flows, Geng et al.",
        "Learn the mean velocity of a whole way: one network call",
        False,
    ),
)


def draw():
    save_both(lay_out, __file__)


def lay_out(narrow):
    letters = 32 if narrow else 80  # in a line
    texts = [
        (textwrap.fill(name, letters), textwrap.fill(what, letters + 4))
        for _, name, what, _ in HISTORY
    ]
    rows = [0.5 + 0.2 * "".join(pair).count("\n") for pair in texts]  # inches
    height = 1.35 + sum(rows)
    first, *_, last = (year for year, *_ in HISTORY)
    title = f"From an idea to films, {first} to {last}"
    figure, axes = sheet(height, title, narrow=narrow)
    x = 0.95 if narrow else 1.15
    tops = [height - 1.15 - sum(rows[:i]) for i in range(len(rows))]
    axes.plot([x, x], [tops[0], tops[-1]], color=FAINT, linewidth=3, zorder=0)
    for i, (y, (year, _, _, used)) in enumerate(zip(tops, HISTORY, strict=True)):
        if i == 0 or HISTORY[i - 1][0] != year:
            axes.text(x - 0.25, y, year, weight="bold", ha="right", va="center")
        face, edge = (NETWORK, NETWORK) if used else ("white", SOFT)
        axes.plot(x, y, "o", markersize=11, color=face, mec=edge, mew=1.8)
        name, what = texts[i]
        below = y - 0.03 - 0.2 * name.count("\n")
        axes.text(x + 0.25, y + 0.19, name, weight="bold", va="top")
        axes.text(x + 0.25, below, what, va="top", size=SMALL)
    axes.plot(MARGIN + 0.08, height - 0.7, "o", markersize=11, color=NETWORK)
    axes.text(
        MARGIN + 0.3,
        height - 0.7,
        "you meet it in this module",
        va="center",
        size=SMALL,
    )
    return figure
