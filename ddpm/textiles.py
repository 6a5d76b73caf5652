"""The data: eight families of cloth, drawn by one grammar.

    pattern(seed) -> (64, 64, 3) uint8         family(seed) -> "kente", ...

A cloth is determined by its seed, and it is drawn in five moves:

    lattice    where motifs sit: a whole number of repeats on the torus, so that the
               cloth goes on over its border without a seam, and whole motifs at its
               upper left corner, so that two cloths lie motif on motif
    distance   how far a point is from the middle of its motif, in that motif's shape
    profile    which distances get which ink
    dyes       the inks: places on a ring of the tradition's colours
    weave      how light falls on the threads

All that is chosen is a number from a range, but the family. How many motifs there are
is not chosen: every second one may be smaller, so that between many small ones and few
large ones lie all that are between. So between two cloths of a family lie others, and a
model can learn the way.

The families are studies after eight real techniques, simplified to 64 pixels, and no
substitute for the cloths themselves. `FAMILIES` names each with a reference.
"""

import numpy as np

SIZE = 64  # pixels a side
FINE = 4  # supersampling: 4 x 4 fine samples are averaged into one pixel

FAMILIES = {
    "kente": (
        "Asante and Ewe strip weaving, Ghana: narrow strips sewn side by side, "
        "warp stripes alternating with blocks of weft. "
        "Ross (1998), Wrapped in Pride: Ghanaian Kente and African American Identity."
    ),
    "bogolanfini": (
        "Bamana mud cloth, Mali: pale bands of signs left free on a dark ground. "
        "Rovine (2001), Bogolan: Shaping Culture through Cloth in Contemporary Mali."
    ),
    "adire": (
        "Yoruba indigo resist, Nigeria: squares of tied rings and painted leaves. "
        "Barbour and Simmonds (1971), Adire Cloth in Nigeria."
    ),
    "wax_print": (
        "Wax-resist factory print, West Africa: roundels on a saturated ground. "
        "Picton (1995), The Art of African Textiles: Technology, Tradition and Lurex."
    ),
    "kuba": (
        "Kuba cut-pile raffia, Congo: interlaced lozenges in tan and black. "
        "Adams (1978), Kuba Embroidered Cloth, African Arts 12(1)."
    ),
    "khasa": (
        "Peul wool blanket, Mali: weft-faced chevrons across the strips. "
        "Imperato (1973), Wool Blankets of the Peul of Mali, African Arts 6(3)."
    ),
    "pelete_bite": (
        "Kalabari cut-thread cloth, Nigeria: madras plaid with threads cut out. "
        "Erekosima and Eicher (1981), Kalabari Cut-Thread and Pulled-Thread Cloth, "
        "African Arts 14(2)."
    ),
    "shweshwe": (
        "Discharge-printed blueprint, South Africa: white dots on indigo or brown. "
        "Leeb-du Toit (2017), isiShweshwe: A History of the Indigenisation of "
        "Blueprint in Southern Africa."
    ),
}

# --- Lattice ----------------------------------------------------------------


def offset(u, period):
    """How far u is from the middle of its cell, signed, in pixels; the first cell is
    0 to period."""
    return u % period - period / 2


def wave(u, period):
    """Triangle wave: 0 in the middle of a cell, 1 where two cells meet."""
    return np.abs(offset(u, period)) * 2 / period


def pairs(u, period, wide):
    """Cells that alternate in width, `wide` and `period - wide`, their middles at a
    quarter and three quarters of the period: signed pixels from the middle of the cell,
    its width, and whether it is the second."""
    first, second = offset(u + period / 4, period), offset(u - period / 4, period)
    other = np.abs(first) > wide / 2
    return (
        np.where(other, second, first),
        np.where(other, period - wide, wide),
        other,
    )


# --- Distance ---------------------------------------------------------------


def distance(u, v, exponent=2.0, four=0.0, eight=0.0):
    """Distance of (u, v) from (0, 0) whose unit circle is the outline of a motif.

    exponent: 1 makes it a lozenge, 2 a circle, more a square, less a star (Lamé's
    superellipse). four, eight: depth of so many petals, 0 to 1 together, and turned by
    half a petal where it is negative.
    """
    r = (np.abs(u) ** exponent + np.abs(v) ** exponent) ** (1 / exponent)
    if four or eight:
        angle = np.arctan2(v, u)
        r = r / (1 + four * np.cos(4 * angle) + eight * np.cos(8 * angle))
    return r


# --- Profile ----------------------------------------------------------------


def bands(d, *edges):
    """Which band d lies in: 0 below the first edge, 1 from there to the next, ..."""
    return sum((d > edge).astype(np.uint8) for edge in edges)


def paint(ink, where, band, *inks):
    """Give points `where` the ink of their band, in place."""
    ink[where] = np.array(inks, np.uint8)[band[where]]


# --- Dyes -------------------------------------------------------------------


def oklab(colour):
    """(lightness 0 to 1, chroma 0 to 0.3, hue in degrees) as a point of OKLab."""
    light, chroma, hue = colour
    angle = np.deg2rad(hue)
    return np.array([light, chroma * np.cos(angle), chroma * np.sin(angle)])


def dye(ring, place):
    """The colour at `place` on a ring of OKLCH colours, each a unit from the next.

    Between two colours it moves as a smooth step, so most cloths are near one.
    """
    k, part = int(np.floor(place)), place - np.floor(place)
    part = part * part * (3 - 2 * part)
    one, two = oklab(ring[k % len(ring)]), oklab(ring[(k + 1) % len(ring)])
    return one + part * (two - one)


def srgb(lab):
    """OKLab (..., 3) to sRGB, clipped to [0, 1] (Ottosson 2020, A Perceptual Color
    Space for Image Processing)."""
    to_lms = [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728]]
    to_lms.append([1, -0.0894841775, -1.2914855480])
    to_rgb = [[4.0767416621, -3.3077115913, 0.2309699292]]
    to_rgb.append([-1.2684380046, 2.6097574011, -0.3413193965])
    to_rgb.append([-0.0041960863, -0.7034186147, 1.7076147010])
    light = (lab @ np.transpose(to_lms)) ** 3 @ np.transpose(to_rgb)
    light = np.clip(light, 0, 1)
    return np.where(
        light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )


# --- Families: (rng, x, y in pixels) -> ink of each point, the inks in OKLab ----

BLACK, CREAM, GOLD = (0.22, 0.025, 50), (0.93, 0.035, 88), (0.82, 0.145, 84)
RED, MAROON = (0.50, 0.18, 28), (0.38, 0.13, 15)
GREEN, BLUE = (0.46, 0.10, 155), (0.42, 0.13, 264)


def kente(rng, x, y):
    u, width, second = pairs(x, 32, rng.uniform(11, 21))  # across strips of two widths
    v = offset(y + 16 * second, 32)  # and along
    half = rng.uniform(6, 10)  # of a block of weft

    core, line, rule = rng.uniform([0.06, 0.2, 0.09], [0.12, 0.26, 0.13])
    warp = bands(np.abs(u) / width, core, line, line + rule)
    reach = min(8, half - 2)  # as far as the motif of a block may go
    motif = distance(u * 2 * reach / width, v, rng.uniform(0.8, 1.4)) / reach
    size = rng.uniform(0.62, 0.8)
    block = bands(motif, size * rng.uniform(0.4, 0.55), size)
    bar = bands(half - np.abs(v), 1.5, rng.uniform(3.2, 4.0))  # closes the block

    ink = np.empty(x.shape, np.uint8)
    paint(ink, np.abs(v) >= half, warp, 1, 0, 2, 0)
    paint(ink, np.abs(v) < half, block, 3, 4, 5)
    paint(ink, (np.abs(v) < half) & (bar < 2), bar, 5, 2)
    ink[np.abs(u) > width / 2 - 0.5] = 5  # the seam between two strips
    ring = [RED, GOLD, GREEN, BLUE, MAROON]
    s = rng.uniform(0, 5)
    far = [dye(ring, s + rng.uniform(*ends)) for ends in [(1.6, 2.4), (2.6, 3.4)]]
    return ink, [dye(ring, s), oklab(CREAM), *far, oklab(GOLD), oklab(BLACK)]


def bogolanfini(rng, x, y):
    half = rng.uniform(8, 10.5)  # of the band of signs; the rest is zigzag
    u, width, second = pairs(x, 32, rng.uniform(16, 23))
    v = offset(y, 32)
    across = np.minimum(0.42 * width, half)
    along = np.where(second, across, 0.8 * half)
    exponent, four = rng.uniform(0.8, 3), rng.uniform(-0.3, 0.3)
    hole = rng.uniform(0.2, 0.7)
    sign = distance(u / across, v / along, exponent, four)
    sign = bands(sign, hole * rng.uniform(0, 0.6), hole, 1)

    other = 16 - half  # half of the band of zigzags
    w = offset(y + 16, 32)
    rise = rng.uniform(0.1, 0.75) * other
    zigzag = np.abs(w - rise * (2 * wave(x, 16) - 1))
    line = rng.uniform(0.14, 0.22) * other
    rule = rng.uniform(1.2, 1.8)

    ink = np.zeros(x.shape, np.uint8)
    paint(ink, np.abs(v) < half, sign, 1, 0, 1, 0)
    ink[(np.abs(v) >= half) & (zigzag < line + 0.5)] = 1
    ink[np.abs(np.abs(v) - half) < rule] = 1
    ring = [(0.24, 0.03, 50), (0.40, 0.09, 42), (0.30, 0.045, 60)]
    return ink, [dye(ring, rng.uniform(0, 3)), oklab((0.90, 0.045, 85))]


def adire(rng, x, y):
    wide = rng.uniform(17, 22)
    (u, width, odd), (v, height, odd_too) = pairs(x, 32, wide), pairs(y, 32, wide)
    rest = np.minimum(width / 2 - np.abs(u), height / 2 - np.abs(v))  # to the border
    u, v = u / width * 2, v / height * 2
    four, eight = rng.uniform(-0.3, 0.3), rng.uniform(0, 0.3)
    flower = distance(u, v, 2, four, eight) / rng.uniform(0.55, 0.62)
    flower = bands(flower, rng.uniform(0.2, 0.45), 1)
    stone = distance(u, v, rng.uniform(0.9, 3)) / rng.uniform(0.5, 0.75)
    stone = bands(stone, rng.uniform(0.1, 0.5), 1)

    ink = np.zeros(x.shape, np.uint8)
    paint(ink, ~odd & ~odd_too, flower, 0, 1, 0)
    paint(ink, odd & odd_too, stone, 0, 1, 0)
    paint(ink, odd != odd_too, stone, 1, 2, 1)
    ink[rest < rng.uniform(0.8, 1.4)] = 1
    hue = rng.uniform(255, 275)
    ground, pale = rng.uniform(0.27, 0.38), rng.uniform(0.84, 0.93)
    second = ground + rng.uniform(0, 0.12)
    inks = [(ground, 0.1, hue), (pale, 0.035, hue - 15), (second, 0.105, hue)]
    return ink, [oklab(ink) for ink in inks]


def wax_print(rng, x, y):
    large = rng.uniform(9.5, 14.5)
    second = min(large, 22 - large) * rng.uniform(0.7, 1)
    seed = (15.5 - large) * rng.uniform(0.5, 0.9)
    exponent = rng.uniform(1.5, 3.2)
    eight, rim = rng.uniform(-0.12, 0.12), rng.uniform(0.62, 0.74)
    heart, cut = rng.uniform(0.28, 0.4), rng.uniform(-0.5, 0.3)

    ink = np.zeros(x.shape, np.uint8)
    for shift, radius in ((0, large), (16, second)):
        u, v = offset(x + shift, 32) / radius, offset(y + shift, 32) / radius
        r = distance(u, v, exponent, eight=eight)
        zone = bands(r, heart * 0.5, heart, rim, rim + 1 / radius, 1 - 1.3 / radius, 1)
        paint(ink, r < 1, zone, 4, 3, 2, 1, 3, 1, 1)
        gap = (zone == 2) & (np.cos(8 * np.arctan2(v, u)) < cut)
        ink[gap] = 4
    for shift in (0, 16):
        r = distance(offset(x + shift, 32), offset(y + shift + 16, 32), exponent)
        paint(ink, r < seed, bands(r, seed * 0.55), 2, 1)
    ring = [
        (0.50, 0.09, 200),
        (0.44, 0.14, 262),
        (0.44, 0.14, 345),
        (0.57, 0.18, 33),
        (0.80, 0.14, 82),
        (0.52, 0.11, 152),
    ]
    s = rng.uniform(0, 6)
    opposite = dye(ring, s + rng.uniform(2.5, 3.5))
    inner = dye(ring, s + rng.uniform(1.5, 2) * 2.4)
    return ink, [dye(ring, s), oklab((0.2, 0.04, 280)), opposite, oklab(CREAM), inner]


def kuba(rng, x, y):
    p, q = x + y, x - y  # along the two slants
    over = (np.floor(p / 32) + np.floor(q / 32)) % 2 == 0
    core, edge = rng.uniform(0.04, 0.12), rng.uniform(0.28, 0.42)
    line, thin = rng.uniform(0.18, 0.26), rng.uniform(0.3, 1)
    p_edge, q_edge = (edge * np.where(np.floor(w / 32) % 2, thin, 1) for w in (p, q))
    p, q = offset(p, 32) / 16, offset(q, 32) / 16  # -1 to 1, bands run along 0
    p_band = bands(np.abs(p), core, p_edge, p_edge + line)
    q_band = bands(np.abs(q), core, q_edge, q_edge + line)
    upper = np.where((over & (p_band < 3)) | (q_band == 3), p_band, q_band)
    room = 1 - edge - line  # of the lozenge between the bands
    heart = distance(1 - np.abs(p), 1 - np.abs(q), rng.uniform(2.5, 9)) / room
    size = rng.uniform(0.5, 0.8)
    heart = bands(heart, size * rng.uniform(0.4, 0.6), size)

    ink = np.empty(x.shape, np.uint8)
    paint(ink, upper < 3, upper, 3, 1, 2)
    paint(ink, upper == 3, heart, 3, 1, 0)
    raffia = [(0.76, 0.075, 78), (0.70, 0.09, 62), (0.83, 0.05, 85)]
    ground = [(0.27, 0.03, 45), (0.44, 0.10, 40), (0.36, 0.07, 30), (0.58, 0.11, 58)]
    warm = [(0.40, 0.10, 38), (0.30, 0.05, 30), (0.52, 0.11, 55)]
    places = rng.uniform(0, 12, 3)
    inks = [
        dye(ring, s) for ring, s in zip((ground, raffia, warm), places, strict=True)
    ]
    return ink, [inks[0], inks[1], oklab((0.21, 0.025, 45)), inks[2]]


def khasa(rng, x, y):
    a = np.abs(offset(y + rng.uniform(4, 14) * wave(x, 32), 64))  # 0 to 32
    widths = rng.uniform(3.5, 9, 6)
    ink = bands(a, *np.cumsum(widths)[:-1] * 32 / widths.sum())
    ring = [(0.47, 0.16, 28), (0.28, 0.03, 40), (0.75, 0.13, 75), (0.36, 0.08, 262)]
    s = rng.uniform(0, 4)
    wool = oklab((0.92, 0.03, 88))
    one, two, three = dye(ring, s), dye(ring, s + 1), dye(ring, s + 2)
    return ink, [one, wool, two, wool, one, three, wool]


def pelete_bite(rng, x, y):
    def stripes(w):
        a, _, second = pairs(w, 64, 32)
        a = np.abs(a)
        core, broad, line = rng.uniform([0.9, 4, 10], [1.3, 7, 11.5])
        broad = np.where(second, broad * rng.uniform(0.4, 1), broad)
        return bands(a, core, broad, line, line + 2)

    warp, weft = stripes(x), stripes(y)
    ink = 5 * warp + weft
    exponent, hole = rng.uniform(0.9, 1.4), rng.uniform(0.35, 0.6)
    large = rng.uniform(6, 11)
    for shift, size in ((0, large), (16, rng.uniform(0.3, 1) * (17 - large))):
        r = distance(offset(x + shift, 32), offset(y + shift, 32), exponent) / size
        cut = (r < 1) & ((r > hole) | (r < hole / 2))
        ink[cut] = 25 + weft[cut]

    ring = [(0.40, 0.15, 25), (0.32, 0.09, 266), (0.40, 0.08, 165), (0.64, 0.14, 62)]
    s = rng.uniform(0, 4)
    ground, broad = dye(ring, s), dye(ring, s + rng.uniform(0.8, 1.6))
    cotton, dark = oklab((0.88, 0.06, 85)), oklab((0.22, 0.03, 280))
    threads = [cotton, broad, ground, dark, ground]
    mixed = [(one + two) / 2 for one in threads for two in threads]
    return ink, mixed + [0.3 * one + 0.7 * oklab(CREAM) for one in threads]


def shweshwe(rng, x, y):
    large = rng.uniform(10, 13.5)
    second = min(large, 21.5 - large) * rng.uniform(0.8, 1)
    dot, small = rng.uniform(1.7, 2.2), rng.uniform(0.55, 1)  # every second is smaller
    four, eight = rng.uniform(-0.35, 0.35), rng.uniform(0, 0.35)
    core, hole = rng.uniform(0.42, 0.52), rng.uniform(0.1, 0.4)
    ink = np.zeros(x.shape, np.uint8)
    u, v = offset(x, 32), offset(y, 32)
    r, angle = np.hypot(u, v), np.arctan2(v, u)
    turn, _, every_second = pairs(angle, np.pi / 2, np.pi / 4)
    size = np.where(every_second, dot * small, dot)
    ink[np.hypot(r - large + dot, turn * r) < size] = 1  # a ring of eight dots
    for shift, radius in ((0, core * (large - dot)), (16, 0.62 * second)):
        u, v = offset(x + shift, 32), offset(y + shift, 32)
        floret = distance(u, v, 2, four, eight) / radius
        ink[(floret < 1) & (floret > hole)] = 1
    ring = [(0.28, 0.11, 272), (0.32, 0.12, 264), (0.40, 0.15, 20), (0.33, 0.065, 50)]
    return ink, [dye(ring, rng.uniform(0, 4)), oklab((0.95, 0.015, 90))]


# --- Weave: how the light falls on the threads, -1 to 1, one value a pixel --------

_row, _col = np.indices((SIZE, SIZE))
RIB = 1.0 - 2.0 * (_row % 2)  # weft-faced: each second row in shadow
PLAIN = 1.0 - 2.0 * ((_row + _col) % 2)  # over one, under one
PILE = 1.0 - 2.0 * ((_row + 2 * (_col % 2)) % 4 // 2)  # staggered tufts
DRAW = {
    "kente": (kente, RIB),
    "bogolanfini": (bogolanfini, PLAIN),
    "adire": (adire, PLAIN),
    "wax_print": (wax_print, PLAIN),
    "kuba": (kuba, PILE),
    "khasa": (khasa, RIB),
    "pelete_bite": (pelete_bite, PLAIN),
    "shweshwe": (shweshwe, PLAIN),
}


def family(seed):
    """Name of the family that `pattern(seed)` belongs to, a key of FAMILIES."""
    return list(FAMILIES)[seed % len(FAMILIES)]


def pattern(seed, moved=(0.0, 0.0)):
    """Draw one cloth: (64, 64, 3) uint8 RGB, on all machines alike to one grey level.

    moved: pixels right and down that its pattern is shifted behind the picture's frame;
    what leaves on one side comes in on the other. The threads of the weave stay.
    """
    rng = np.random.default_rng(seed)
    draw, weave = DRAW[family(seed)]
    fine = (np.arange(SIZE * FINE) + 0.5) / FINE
    right, down = moved
    x, y = np.meshgrid(fine - right, fine - down)  # (256, 256), in pixels
    ink, inks = draw(rng, x, y)

    inks = np.array(inks)  # OKLab
    inks += rng.uniform(-0.012, 0.012, (1, 3))  # all lighter and turned together
    inks += rng.uniform(-0.008, 0.008, inks.shape)  # and each a little by itself
    cloth = srgb(inks)[ink].reshape(SIZE, FINE, SIZE, FINE, 3).mean(axis=(1, 3))
    cloth = cloth * (1 + 0.04 * weave[..., None])
    return np.clip(np.rint(255 * cloth), 0, 255).astype(np.uint8)
