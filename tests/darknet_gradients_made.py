"""The gradients that darknet sends into the last layer of a YOLO, cell by cell in plain Python.

Written from what its detection_layer.c, region_layer.c and yolo_layer.c do (pjreddie/darknet f6afaab), as the
independent form of the losses in ``concord.tasks.detection``. Darknet goes up along its deltas, so that these
are minus the gradients of a loss. Truths are (label, x, y, w, h) in shares of the image.
"""

import math
from itertools import product

import numpy as np


def logistic(z):
    return 1 / (1 + math.exp(-z))


def iou(a, b):
    """Of two boxes x, y, w, h."""
    sides = [min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2)
             for i in (0, 1)]  # fmt: skip
    shared = sides[0] * sides[1] if min(sides) > 0 else 0.0
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def v1(output, truths, classes, side, boxes):
    """Of one image: output (S S (K + 5 boxes),), weights 5, 1, .5, 1, with sqrt and rescore."""
    delta, cells = np.zeros_like(output), side * side
    at_confidence, at_box = cells * classes, cells * (classes + boxes)
    grid = {}
    for label, x, y, w, h in truths:
        column, row = int(x * side), int(y * side)
        grid.setdefault(row * side + column, (label, x * side - column, y * side - row, w, h))
    for cell in range(cells):
        for j in range(boxes):
            p = at_confidence + cell * boxes + j
            delta[p] = 0.5 * (0 - output[p])
        if cell not in grid:
            continue
        label, *truth = grid[cell]
        for k in range(classes):
            delta[cell * classes + k] = (k == label) - output[cell * classes + k]
        aim = (truth[0] / side, truth[1] / side, truth[2], truth[3])
        best, best_iou, best_rmse = None, 0.0, 20.0
        for j in range(boxes):
            x, y, w, h = output[at_box + (cell * boxes + j) * 4 :][:4]
            out = (x / side, y / side, w * w, h * h)
            shared, rmse = iou(out, aim), math.dist(out, aim)
            if best_iou > 0 or shared > 0:
                if shared > best_iou:
                    best, best_iou = j, shared
            elif rmse < best_rmse:
                best, best_rmse = j, rmse
        start = at_box + (cell * boxes + best) * 4
        wanted = (truth[0], truth[1], math.sqrt(truth[2]), math.sqrt(truth[3]))
        for i in range(4):
            delta[start + i] = 5 * (wanted[i] - output[start + i])
        p = at_confidence + cell * boxes + best
        delta[p] = best_iou - output[p]
    return delta


def boxes_of(z, anchors, size, stride):
    """The box of every (anchor, row, column) of a map (A, 5 + K, H, W), in shares of the image."""
    found = {}
    for n, j, i in product(range(z.shape[0]), range(z.shape[2]), range(z.shape[3])):
        tx, ty, tw, th = z[n, :4, j, i]
        x, y = (i + logistic(tx)) * stride, (j + logistic(ty)) * stride
        w, h = math.exp(tw) * anchors[n][0], math.exp(th) * anchors[n][1]
        found[n, j, i] = (x / size[1], y / size[0], w / size[1], h / size[0])
    return found


def box_delta(z, truth, anchor, size, stride, i, j, scale):
    """Of t_x, t_y after the sigmoid, and of t_w, t_h."""
    _, x, y, w, h = truth
    wanted = (x * size[1] / stride - i, y * size[0] / stride - j,
              math.log(w * size[1] / anchor[0]), math.log(h * size[0] / anchor[1]))  # fmt: skip
    given = (logistic(z[0]), logistic(z[1]), z[2], z[3])
    return np.array([scale * (t - g) for t, g in zip(wanted, given, strict=True)])


def alike(w, h, truth, size):
    """IoU of sides in pixels with those of a truth, both boxes around one point."""
    return iou((0, 0, w / size[1], h / size[0]), (0, 0, *truth[3:]))


def v2(z, truths, anchors, size, stride, pull=0.0, by_prediction=False):
    """Of one image: z (A, 5 + K, H, W); object_scale 5, the others 1, thresh .6, rescore, softmax classes."""
    delta, predicted = np.zeros_like(z), boxes_of(z, anchors, size, stride)
    for (n, j, i), box in predicted.items():
        best = max((iou(box, truth[1:]) for truth in truths), default=0.0)
        delta[n, 4, j, i] = 0.0 if best > 0.6 else 0 - logistic(z[n, 4, j, i])
        if pull:
            sides = (anchors[n][0] / size[1], anchors[n][1] / size[0])
            middle = (0, (i + 0.5) * stride / size[1], (j + 0.5) * stride / size[0], *sides)
            delta[n, :4, j, i] = box_delta(z[n, :, j, i], middle, anchors[n], size, stride, i, j, pull)
    for truth in truths:
        label, x, y, w, h = truth
        i, j = int(x * size[1] / stride), int(y * size[0] / stride)
        best, n = 0.0, 0
        for a, (own_w, own_h) in enumerate(anchors):
            if by_prediction:
                own_w, own_h = predicted[a, j, i][2] * size[1], predicted[a, j, i][3] * size[0]
            if (shared := alike(own_w, own_h, truth, size)) > best:
                best, n = shared, a
        at = z[n, :, j, i]
        delta[n, :4, j, i] = box_delta(at, truth, anchors[n], size, stride, i, j, 2 - w * h)
        delta[n, 4, j, i] = 5 * (iou(predicted[n, j, i], truth[1:]) - logistic(at[4]))
        p = np.exp(at[5:]) / np.exp(at[5:]).sum()
        delta[n, 5:, j, i] = (np.arange(len(p)) == label) - p
    for channel in (0, 1, 4):  # squared errors go back through the sigmoid
        s = 1 / (1 + np.exp(-z[:, channel]))
        delta[:, channel] *= s * (1 - s)
    return delta


def v3(maps, truths, anchors, size, strides, ignore=0.5):
    """Of one image: maps (A, 5 + K, H, W); what is added to the gradients of the logits themselves."""
    deltas = [np.zeros_like(z) for z in maps]
    every = [pair for own in anchors for pair in own]
    starts = [sum(len(own) for own in anchors[:m]) for m in range(len(maps))]
    for m, (z, delta) in enumerate(zip(maps, deltas, strict=True)):
        for (n, j, i), box in boxes_of(z, anchors[m], size, strides[m]).items():
            best = max((iou(box, truth[1:]) for truth in truths), default=0.0)
            delta[n, 4, j, i] = 0.0 if best > ignore else 0 - logistic(z[n, 4, j, i])
        for truth in truths:
            label, x, y, w, h = truth
            overlaps = [alike(*pair, truth, size) for pair in every]
            n = overlaps.index(max(overlaps)) - starts[m]
            if not 0 <= n < len(anchors[m]):
                continue
            i, j = int(x * size[1] / strides[m]), int(y * size[0] / strides[m])
            at = z[n, :, j, i]
            delta[n, :4, j, i] = box_delta(at, truth, anchors[m][n], size, strides[m], i, j, 2 - w * h)
            delta[n, 4, j, i] = 1 - logistic(at[4])
            if delta[n, 5, j, i]:  # another truth named the classes of this place before
                delta[n, 5 + label, j, i] = 1 - logistic(at[5 + label])
            else:
                delta[n, 5:, j, i] = [(k == label) - logistic(at[5 + k]) for k in range(len(at) - 5)]
    return deltas
