"""Writes masks.json beside itself: small PNG files of numbers, of every kind that holds them, and some that do not.

    python3 make_masks.py

The bytes are put together here from the PNG specification (W3C, third edition), so that the numbers are known exactly.
"""

import json
import pathlib
import struct
import zlib

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(row, depth):
    """One scan line, filter 0."""
    if depth == 16:
        return b"\0" + b"".join(struct.pack(">H", v) for v in row)
    bits = "".join(format(v, f"0{depth}b") for v in row)
    bits += "0" * (-len(bits) % 8)
    return b"\0" + bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def png(width, height, values, depth, color, interlaced=False, extra=b"", samples=1):
    rows = [[values[y * width + x] for x in range(width) for _ in range(samples)] for y in range(height)]
    if interlaced:
        passes = [[row[x0::dx] for row in rows[y0::dy]] for x0, y0, dx, dy in ADAM7]
        data = b"".join(packed(row, depth) for rows in passes for row in rows if row)
    else:
        data = b"".join(packed(row, depth) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(range(3 * min(256, 2**depth) % 256)) if depth < 8 else bytes(i * 7 % 256 for i in range(768)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + (palette if color == PALETTE else b"") + extra +
            chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def main():
    good = []
    for name, depth, color, options in (
            ("palette 8", 8, PALETTE, {}), ("palette 4", 4, PALETTE, {}), ("palette 2", 2, PALETTE, {}),
            ("palette 1", 1, PALETTE, {}), ("grey 8", 8, GREY, {}), ("grey 4", 4, GREY, {}), ("grey 16", 16, GREY, {}),
            ("palette 8 interlaced", 8, PALETTE, dict(interlaced=True)),
            ("palette 8 transparent", 8, PALETTE, dict(extra=chunk(b"tRNS", b"\0\x80\xff")))):
        width, height = 11, 9
        values = [(x * 5 + y * 3 + x * y * (97 if depth == 16 else 1)) % 2**depth for y in range(height) for x in range(width)]
        good.append(dict(name=name, width=width, height=height, values=values,
                         file=png(width, height, values, depth, color, **options).hex()))
    values = [v % 256 for v in range(20)]
    refused = [dict(says="an RGB picture", file=png(5, 4, values, 8, RGB, samples=3).hex()),
               dict(says="an RGBA picture", file=png(5, 4, values, 8, RGBA, samples=4).hex()),
               dict(says="a grey picture with alpha", file=png(5, 4, values, 8, GREY_ALPHA, samples=2).hex()),
               dict(says="a BMP picture; class numbers are read from PNG",
                    file=(b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(4)).hex())]
    lines = {key: ",\n".join("  " + json.dumps(case) for case in cases) for key, cases in (("good", good), ("refused", refused))}
    path = pathlib.Path(__file__).parent / "masks.json"
    path.write_text('{"good": [\n%s\n], "refused": [\n%s\n]}\n' % (lines["good"], lines["refused"]))


main()
