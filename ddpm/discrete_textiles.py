"""The textiles of the embedded weights: eight families, chosen from short lists.

    pattern(seed)  -> (64, 64, 3) uint8      family(seed) -> "kente", ...

Studies after eight real techniques, simplified to 64 pixels, and no substitute for
the cloths themselves. `FAMILIES` names each with a reference. All lie straight on the
loom: a slant blurs every edge in its own way, and a small model spends its strength on
learning that. Every drawing is made on a grid four times finer and averaged down. Only
sums, products, square roots and comparisons are used, so that a seed gives the same
bytes on every machine.
"""

import numpy as np

from ddpm.textiles import FAMILIES, FINE, SIZE, family

__all__ = ["FAMILIES", "family", "pattern"]


def _wave(u):
    """Triangle wave of period 1: 0 at whole numbers, 1 half-way."""
    return 1 - np.abs(2 * (u - np.floor(u)) - 1)


def _cell(u):
    """Offset from the middle of the unit cell, in [-0.5, 0.5)."""
    return u - np.floor(u) - 0.5


def _steps(u, n):
    """u rounded to the middle of one of n threads: a loom draws no slanted line."""
    return (np.floor(u * n) + 0.5) / n


def _repeat(rng, x, *periods):
    """x in units of one period out of those given (pixels), and that period.

    Periods are powers of two, and a repeat starts at the picture's edge or half a
    period from it, as a tailor centres a motif: a cloth that may start anywhere is
    many times as hard to learn.
    """
    period = periods[rng.integers(len(periods))]
    return x / period + 0.5 * rng.integers(2), period


def _petals(u, v, doublings):
    """cos(2**doublings * angle) of the point (u, v), without trigonometry."""
    c = u / np.sqrt(u * u + v * v + 1e-9)
    for _ in range(doublings):
        c = 2 * c * c - 1
    return c


# --- Families: (rng, x, y in pixels) -> ink indices, palette, weave ---------


def _kente(rng, x, y):
    # ground and second stripe of the warp; dark, light and accent of the weft
    palette = [
        [(212, 150, 22), (150, 24, 36), (20, 18, 22), (244, 206, 60), (18, 104, 62)],
        [(22, 96, 60), (216, 158, 30), (24, 20, 24), (246, 212, 74), (176, 28, 36)],
        [(26, 48, 122), (222, 166, 36), (20, 18, 30), (244, 216, 96), (190, 40, 38)],
        [(132, 22, 38), (226, 170, 44), (22, 18, 20), (246, 218, 110), (20, 88, 66)],
    ][rng.integers(4)]
    s, _ = _repeat(rng, x, 16, 32)
    t, _ = _repeat(rng, y, 16, 32)
    u, v = _cell(s), _cell(t)
    weft = (np.floor(s) + np.floor(t)) % 2 == 0
    a = np.abs(u)

    ink = np.zeros(x.shape, np.uint8)
    edge, middle = rng.integers(4, 6) / 16, rng.integers(1, 3) / 16
    ink[(a > edge) & (a < edge + 0.125)] = 1
    ink[a < middle] = rng.integers(1, 5)
    us, vs = _steps(u, 8), _steps(v, 8)
    dark, light, accent = rng.permutation([2, 3, 4])
    block = np.full(x.shape, dark, np.uint8)
    match rng.integers(4):
        case 0:  # stepped lozenge
            r, size = np.abs(us) + np.abs(vs), rng.integers(4, 6) / 8
            block[r < size] = light
            block[r < size - 0.25] = accent
        case 1:  # bars, as in the babadua motif
            bars = np.floor(np.abs(vs) * 8)
            block[bars == 2] = light
            block[bars == 0] = accent
        case 2:  # hourglass
            block[np.abs(us) < np.abs(vs)] = light
            block[np.abs(us) > np.abs(vs) + 0.2] = accent
        case 3:  # checks
            n = rng.choice([2, 4])
            checks = np.floor((u + 0.5) * n) + np.floor((v + 0.5) * n)
            block[checks % 2 == 0] = light
            block[np.abs(vs) > 0.4] = accent
    ink[weft] = block[weft]
    ink[a > 0.485] = 2  # the seam between two strips
    return ink, palette, np.where(weft[::FINE, ::FINE], RIB, WARP)


def _sign(kind, u, v):
    """One sign of a mud cloth in the unit cell: a mask of u, v in [-0.5, 0.5)."""
    a, b = np.abs(u), np.abs(v)
    match kind:
        case 0:  # zigzag
            return np.abs(v + 0.28 - 1.12 * a) < 0.14
        case 1:  # lozenge with a heart
            return ((a + b > 0.26) & (a + b < 0.44)) | (a + b < 0.1)
        case 2:  # cross
            return (np.minimum(a, b) < 0.09) & (np.maximum(a, b) < 0.38)
        case 3:  # tied cross
            return (np.abs(a - b) < 0.11) & (np.maximum(a, b) < 0.36)
        case 4:  # dots
            return u * u + v * v < 0.062
        case 5:  # ring
            r = u * u + v * v
            return ((r > 0.06) & (r < 0.165)) | (r < 0.012)
        case 6:  # comb
            return ((np.abs(_cell(2 * u)) < 0.19) & (v < 0.34)) | (
                np.abs(v - 0.3) < 0.07
            )


def _bogolanfini(rng, x, y):
    palette = [
        [(38, 28, 24), (228, 214, 184)],
        [(92, 44, 24), (236, 214, 172)],
        [(58, 38, 26), (216, 176, 104)],
        [(226, 212, 184), (48, 34, 28)],  # dark signs on cloth left pale
    ][rng.integers(4)]
    t, height = _repeat(rng, y, 16, 32)
    s, _ = _repeat(rng, x, height)
    u, v = _cell(s), _cell(t) / 0.86  # the rest is the rule between two bands
    ink = np.zeros(x.shape, np.uint8)
    for k, kind in enumerate(rng.permutation(7)[:2]):
        joined = kind in (0, 6)  # signs that run on from one to the next
        ink[(np.floor(t) % 2 == k) & _sign(kind, u if joined else u / 0.86, v)] = 1
    ink[np.abs(v) > 0.52] = 1
    return ink, palette, PLAIN


def _adire(rng, x, y):
    palette = [
        [(22, 34, 92), (176, 200, 230), (74, 104, 170)],
        [(18, 26, 64), (206, 216, 228), (58, 80, 136)],
        [(34, 58, 128), (222, 230, 238), (104, 136, 196)],
    ][rng.integers(3)]
    s, _ = _repeat(rng, x, 32)
    t, _ = _repeat(rng, y, 32)
    u, v = _cell(s), _cell(t)
    r = np.sqrt(u * u + v * v)
    a, b = np.abs(u), np.abs(v)

    def motif(kind):
        match kind:
            case 0:  # rings, as where thread was tied around a pebble
                return np.abs(_cell(r * 5.2)) < 0.23
            case 1:  # sun
                return (r < 0.11) | ((r < 0.42) & (r > 0.17) & (_petals(u, v, 3) > 0.1))
            case 2:  # leaves
                return (
                    (r < 0.44)
                    & (_petals(u + v, u - v, 2) > 0.25)
                    & (np.minimum(a, b) > 0.03)
                )
            case 3:  # four pebbles
                return (
                    np.abs(_cell(np.sqrt((a - 0.23) ** 2 + (b - 0.23) ** 2) * 8)) < 0.25
                )
            case 4:  # lattice of the painter's comb
                return (_wave(2.0 * (u + v)) > 0.66) | (_wave(2.0 * (u - v)) > 0.66)

    one, two = rng.permutation(5)[:2]
    odd = (np.floor(s) + np.floor(t)) % 2 == 1
    ink = np.zeros(x.shape, np.uint8)
    ink[odd] = 2 if rng.uniform() < 0.35 else 0
    inside = np.maximum(a, b) < 0.43
    ink[inside & np.where(odd, motif(two), motif(one))] = 1
    ink[np.maximum(a, b) > 0.465] = 1
    return ink, palette, PLAIN


def _wax_print(rng, x, y):
    # ground, outline, petal, heart, light
    palette = [
        [(14, 118, 120), (22, 26, 58), (238, 128, 30), (214, 40, 52), (250, 230, 176)],
        [(206, 52, 34), (44, 16, 26), (250, 190, 44), (24, 60, 126), (252, 236, 200)],
        [(234, 172, 32), (34, 26, 66), (196, 44, 46), (26, 96, 120), (252, 240, 206)],
        [(30, 62, 140), (16, 20, 52), (246, 196, 58), (222, 70, 40), (240, 244, 240)],
        [(140, 30, 92), (40, 12, 44), (248, 168, 48), (28, 132, 120), (252, 228, 206)],
    ][rng.integers(5)]
    s, _ = _repeat(rng, x, 32)
    t, _ = _repeat(rng, y, 32)
    staggered = rng.uniform() < 0.4
    if staggered:
        s = s + 0.5 * (np.floor(t) % 2)
    u, v = _cell(s), _cell(t)
    r = np.sqrt(u * u + v * v)
    size = rng.uniform(0.4, 0.47)
    rim = size * rng.uniform(0.72, 0.84)
    core = size * rng.uniform(0.3, 0.44)
    doublings = rng.integers(2, 4)  # 4 or 8 petals, 8 or 16 with the gaps between

    ink = np.zeros(x.shape, np.uint8)
    if not staggered:  # small seeds between four roundels
        us, vs = _cell(s + 0.5), _cell(t + 0.5)
        ink[us * us + vs * vs < 0.014] = 1
    ink[r < size] = 1
    ink[r < size - 0.045] = 4
    ink[r < rim] = 1 if rng.uniform() < 0.5 else 3
    ink[(r < rim - 0.02) & (_petals(u, v, doublings) > rng.uniform(-0.4, 0.2))] = 2
    ink[r < core] = 1
    ink[r < core - 0.04] = 4
    ink[r < core * 0.5] = 3
    return ink, palette, PLAIN


def _kuba(rng, x, y):
    palette = [
        [(204, 168, 110), (40, 28, 22), (140, 76, 34)],
        [(190, 146, 82), (54, 34, 24), (222, 192, 136)],
        [(214, 184, 128), (98, 40, 28), (44, 30, 26)],
    ][rng.integers(3)]
    s, size = _repeat(rng, x, 32, 64)
    t, _ = _repeat(rng, y, size)
    tx, ty = _wave(_steps(s, size // 2)), _wave(_steps(t, size // 2))
    ink = np.zeros(x.shape, np.uint8)
    match rng.integers(4):
        case 0:  # nested lozenges
            ink[_cell(2 * (tx + ty)) < 0] = 1
            ink[np.abs(tx + ty - 1) > 0.75] = 2
        case 1:  # net of lozenges, each with a framed heart
            d = np.abs(tx + ty - 1)
            ink[(d < 0.125) | (d > 0.4)] = 1
            ink[d > 0.625] = 2
        case 2:  # keys: nested squares, every second row shifted
            shift = 0.5 * (np.floor(t) % 2)
            d = 2 * np.maximum(np.abs(_cell(s + shift)), np.abs(_cell(t)))
            ink[_cell(d * 2.5) < 0] = 1
            ink[d < 0.2] = 2
        case 3:  # triangles tip to tip
            d = tx - ty
            ink[(d > 0.125) | (d < -0.625)] = 1
            ink[np.abs(d) > 0.375] = 2
            ink[d > 0.625] = 0
    return ink, palette, PILE


def _khasa(rng, x, y):
    palette = [
        [(230, 220, 198), (164, 34, 34), (32, 28, 34), (222, 160, 44)],
        [(168, 36, 32), (238, 226, 200), (30, 26, 32), (228, 168, 52)],
        [(226, 216, 196), (34, 50, 92), (176, 48, 36), (120, 78, 44)],
    ][rng.integers(3)]
    s, width = _repeat(rng, x, 32, 64)  # one peak
    rise = width / 2 * _wave(_steps(s, width // 2))  # pixels
    t, _ = _repeat(rng, y + rise, 32, 64)  # once through the stripes
    # Symmetric sequence of stripes: ground, thin, ground, broad with a core.
    a = np.abs(_cell(t)) * 32  # units from the core
    core, broad = rng.integers(1, 3) * 2, rng.integers(6, 9)
    one, two, three = rng.permutation([1, 2, 3])
    ink = np.zeros(x.shape, np.uint8)
    ink[a < broad] = one
    ink[(a < broad) & (a > broad - 2)] = two
    ink[a < core] = three
    ink[np.abs(a - 12) < 1] = two
    ink[a > 14] = three
    return ink, palette, RIB


def _pelete_bite(rng, x, y):
    # ground, broad stripe, narrow stripe, light
    colours = [
        [(150, 24, 40), (24, 36, 84), (240, 214, 150), (20, 22, 30)],
        [(26, 40, 92), (146, 26, 44), (232, 196, 90), (226, 228, 222)],
        [(22, 84, 66), (32, 36, 78), (236, 190, 80), (180, 36, 40)],
        [(196, 66, 40), (60, 24, 50), (246, 218, 160), (28, 72, 92)],
    ][rng.integers(4)]
    s, _ = _repeat(rng, x, 32)
    t, _ = _repeat(rng, y, 32)
    broad, narrow = rng.uniform(0.14, 0.26), rng.uniform(0.03, 0.05)

    def threads(u):
        a = np.abs(_cell(u))
        stripe = np.zeros(u.shape, np.uint8)
        stripe[a < broad] = 1
        stripe[a < narrow] = 2
        stripe[np.abs(a - 0.5 * (0.5 + broad)) < narrow] = 3
        return stripe

    warp, weft = threads(s), threads(t)
    # A plaid mixes the two threads half and half; where one is cut, the other
    # stands alone on the lighter gauze, here in lozenges at the crossings.
    lozenge = np.abs(_cell(s + 0.5)) + np.abs(_cell(t + 0.5))
    if rng.uniform() < 0.5:
        lozenge = np.abs(_cell(s)) + np.abs(_cell(t))
    size = rng.uniform(0.22, 0.34)
    cut = (lozenge < size) & (lozenge > 0.4 * size)
    mixed = [
        tuple((3 * a + 3 * b) // 6 for a, b in zip(one, two, strict=True))
        for one in colours
        for two in colours
    ]
    gauze = [tuple((c + 2 * 244) // 3 for c in one) for one in colours]
    ink = (4 * warp + weft).astype(np.uint8)
    ink[cut] = 16 + weft[cut]
    return ink, mixed + gauze, PLAIN


def _shweshwe(rng, x, y):
    palette = [
        [(24, 34, 88), (238, 240, 244)],
        [(78, 40, 26), (244, 228, 204)],
        [(150, 28, 38), (250, 236, 226)],
        [(18, 76, 84), (236, 244, 236)],
    ][rng.integers(4)]
    s, _ = _repeat(rng, x, 32)
    t, _ = _repeat(rng, y, 32)
    ground = rng.integers(3)
    if ground == 0:
        s = s + 0.5 * (np.floor(t) % 2)  # half-drop repeat
    u, v = _cell(s), _cell(t)
    r = np.sqrt(u * u + v * v)

    def dots(du, dv, size):
        return du * du + dv * dv < size * size

    # The medallion has eightfold symmetry: fold the cell onto one eighth of it.
    a, b = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
    ring = rng.uniform(0.27, 0.33)
    ink = dots(a - ring, b, 0.05) | dots(a - 0.707 * ring, b - 0.707 * ring, 0.05)
    match rng.integers(3):
        case 0:  # floret
            ink |= (r < 0.2) & (_petals(u, v, 2) > -0.2) & (r > 0.06)
        case 1:  # star
            ink |= (a + 2.2 * b < 0.21) | dots(a - 0.13, b - 0.13, 0.035)
        case 2:  # eye
            ink |= ((r > 0.13) & (r < 0.19)) | (r < 0.06)
    match ground:
        case 0:  # dotted frame
            along = _cell(np.minimum(np.abs(u), np.abs(v)) * 8)
            ink |= dots(a - 0.5, along / 8, 0.045)
        case 1:  # dotted net
            along = _cell((u - v) * 6) / 6, _cell((u + v) * 6) / 6
            ink |= dots(np.abs(u + v) - 0.5, along[0], 0.06)
            ink |= dots(np.abs(u - v) - 0.5, along[1], 0.06)
        case 2:  # small lozenges in the spandrels
            ink |= 1 - np.abs(u) - np.abs(v) < 0.16
    return ink.astype(np.uint8), palette, PLAIN


_DRAW = {
    "kente": _kente,
    "bogolanfini": _bogolanfini,
    "adire": _adire,
    "wax_print": _wax_print,
    "kuba": _kuba,
    "khasa": _khasa,
    "pelete_bite": _pelete_bite,
    "shweshwe": _shweshwe,
}

# How the light falls on the threads, in [-1, 1], one value a pixel.
_row, _col = np.indices((SIZE, SIZE))
RIB = 1.0 - 2.0 * (_row % 2)  # weft-faced: each second row in shadow
WARP = 1.0 - 2.0 * (_col % 2)  # warp-faced: each second column
PLAIN = 1.0 - 2.0 * ((_row + _col) % 2)  # over one, under one
PILE = 1.0 - ((_row + 2 * (_col % 2)) % 4) / 1.5  # staggered tufts


def pattern(seed):
    """Draw one cloth: (64, 64, 3) uint8 RGB, the same bytes for the same seed."""
    rng = np.random.default_rng(seed)
    fine = (np.arange(SIZE * FINE) + 0.5) / FINE
    y, x = np.meshgrid(fine, fine, indexing="ij")  # (256, 256), in pixels
    ink, palette, weave = _DRAW[family(seed)](rng, x, y)

    colours = np.array(palette, float) * rng.uniform(0.95, 1.04)
    colours += rng.uniform(-6, 6, colours.shape)
    colours = np.clip(np.rint(colours), 0, 255).astype(np.uint32)
    blocks = colours[ink].reshape(SIZE, FINE, SIZE, FINE, 3)
    cloth = blocks.sum(axis=(1, 3)) / FINE**2  # whole numbers: no rounding order

    wear = rng.uniform(-0.05, 0.05, 2)
    ramp = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    light = 1 + 0.05 * weave + wear[0] * ramp[:, None] + wear[1] * ramp[None, :]
    return np.clip(np.rint(cloth * light[..., None]), 0, 255).astype(np.uint8)
