"""Images with boxes: VOC, YOLO and COCO annotations, one canvas, random changes, anchors, checks."""
