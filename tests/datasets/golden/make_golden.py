"""Writes resize.json and files.json beside itself, with Pillow.

    pip install pillow && python3 make_golden.py

resize.json: what Image.resize() makes of pictures that pattern() defines; small results as hex, large ones as FNV-1a.
files.json: small picture files of every kind as hex, each with the RGB pixels that Pillow reads from it.
"""

import io
import json
import pathlib

import PIL
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
FILTERS = {"nearest": Image.NEAREST, "box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC,
           "lanczos": Image.LANCZOS}


def pattern(width, height, seed, smooth):
    """Bytes of a linear congruential generator; smooth ones change slowly along the rows."""
    state, out = seed, bytearray()
    for i in range(width * height * 3):
        state = (state * 1103515245 + 12345) % 2**31
        byte = state >> 16 & 255
        out.append((i // 3 % width * 5 + i // (3 * width) * 3 + i % 3 * 70 + byte // 16) % 256 if smooth else byte)
    return Image.frombytes("RGB", (width, height), bytes(out))


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def resizes():
    cases = []
    small = [(13, 17, 7, 5), (13, 17, 29, 31), (37, 29, 16, 29), (29, 37, 29, 11), (5, 6, 5, 6), (1, 1, 3, 2), (9, 4, 1, 1),
             (64, 2, 17, 3)]
    large = [(348, 464, 256, 341), (348, 348, 224, 224), (101, 77, 224, 224), (640, 480, 37, 31)]
    for smooth in (False, True):
        for name, method in FILTERS.items():
            for w, h, to_w, to_h in small + large:
                image = pattern(w, h, w * 1000 + h, smooth)
                data = image.resize((to_w, to_h), method).tobytes()
                case = dict(filter=name, width=w, height=h, seed=w * 1000 + h, smooth=smooth, to_width=to_w, to_height=to_h)
                case["fnv1a" if (w, h, to_w, to_h) in large else "pixels"] = \
                    fnv1a(data) if (w, h, to_w, to_h) in large else data.hex()
                cases.append(case)
    return cases


def picture():
    """Slow colours: JPEG decoders may differ where colours change within a block."""
    image = Image.new("RGB", (21, 14))
    for y in range(14):
        for x in range(21):
            image.putpixel((x, y), (40 + 8 * x, 200 - 9 * y, 90 + 3 * x + 4 * y))
    return image


def files():
    cases = []

    def add(name, image, tolerance, **options):
        data = io.BytesIO()
        image.save(data, **options)
        read = Image.open(io.BytesIO(data.getvalue()))
        read = ImageOps.exif_transpose(read)
        if read.mode.startswith("I"):  # 16 bits: the upper 8
            read = read.point(lambda v: v / 256).convert("L")
        if read.mode in ("LA", "RGBA", "PA") or "transparency" in read.info:
            rgba = read.convert("RGBA")
            over = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            over.alpha_composite(rgba)
            read = over
        read = read.convert("RGB")
        cases.append(dict(name=name, file=data.getvalue().hex(), width=read.width, height=read.height,
                          tolerance=tolerance, pixels=read.tobytes().hex()))

    rgb = picture()
    add("jpeg", rgb, 4, format="JPEG", quality=92)
    add("jpeg 4:4:4", rgb, 3, format="JPEG", quality=92, subsampling=0)
    add("jpeg progressive", rgb, 4, format="JPEG", quality=92, progressive=True)
    add("jpeg grey", rgb.convert("L"), 2, format="JPEG", quality=92)
    add("jpeg cmyk", rgb.convert("CMYK"), 4, format="JPEG", quality=95)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"jpeg orientation {orientation}", rgb, 4, format="JPEG", quality=92, exif=exif)
    add("jpeg cmyk progressive", rgb.convert("CMYK"), 4, format="JPEG", quality=95, progressive=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    add("jpeg progressive orientation 6", rgb, 4, format="JPEG", quality=92, progressive=True, exif=turned)
    add("png orientation 6", rgb, 0, format="PNG", exif=turned)
    add("png", rgb, 0, format="PNG")
    add("png grey", rgb.convert("L"), 0, format="PNG")
    add("png 1 bit", rgb.convert("1"), 0, format="PNG")
    add("png palette", rgb.convert("P", palette=Image.ADAPTIVE), 0, format="PNG")
    alpha = Image.new("L", rgb.size)
    for y in range(rgb.height):
        for x in range(rgb.width):
            alpha.putpixel((x, y), min(255, 13 * x))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    add("png alpha", rgba, 1, format="PNG")
    grey_alpha = rgb.convert("L")
    grey_alpha.putalpha(alpha)
    add("png grey alpha", grey_alpha, 1, format="PNG")
    add("png palette with a transparent colour", rgb.convert("P", palette=Image.ADAPTIVE), 0, format="PNG", transparency=3)
    deep = Image.new("I;16", rgb.size)
    for y in range(rgb.height):
        for x in range(rgb.width):
            deep.putpixel((x, y), 3000 * x + 17 * y)
    add("png 16 bits", deep, 0, format="PNG")
    add("bmp", rgb, 0, format="BMP")
    add("bmp grey", rgb.convert("L"), 0, format="BMP")
    add("bmp palette", rgb.convert("P", palette=Image.ADAPTIVE), 0, format="BMP")
    add("bmp 1 bit", rgb.convert("1"), 0, format="BMP")
    return cases


def write(name, cases):
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (HERE / name).write_text('{"pillow": "%s", "cases": [\n%s\n]}\n' % (PIL.__version__, lines))


write("resize.json", resizes())
write("files.json", files())
