"""COCO's average precision of boxes in a JSON file, by pycocotools, as one line of JSON.

    coco_map.py FILE    FILE: {"pictures", "classes", "objects": rows, "found": rows}, each row
                        [picture, class, left, top, width, height, score, crowd]
"""

import contextlib
import io
import json
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

with open(sys.argv[1]) as file:
    given = json.load(file)

truth = COCO()
truth.dataset = {
    "images": [{"id": i} for i in range(given["pictures"])],
    "categories": [{"id": k} for k in range(given["classes"])],
    "annotations": [
        {"id": i + 1, "image_id": row[0], "category_id": row[1], "bbox": row[2:6], "area": row[4] * row[5],
         "iscrowd": int(row[7])}
        for i, row in enumerate(given["objects"])
    ],
}
with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    found = truth.loadRes([
        {"image_id": row[0], "category_id": row[1], "bbox": row[2:6], "score": row[6]} for row in given["found"]
    ])
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

# [threshold, recall, class, area, most detections]; all areas, 100 detections
precision = evaluation.eval["precision"][:, :, :, 0, 2]
print(json.dumps({
    "map": float(evaluation.stats[0]),
    "map50": float(evaluation.stats[1]),
    "map75": float(evaluation.stats[2]),
    "per_class": [float(np.mean(precision[:, :, k])) for k in range(given["classes"])],
}))
