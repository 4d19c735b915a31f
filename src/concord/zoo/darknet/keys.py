"""Keys of the sections of a ``.cfg`` file, as darknet and its fork by AlexeyAB read them (parser.c).

Every key is of one of three kinds: it shapes the layer; it matters in training only, which concord does by
itself; or it changes the result unless it has one value. Everything else is an error.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Keys(NamedTuple):
    """What may stand in one section."""

    used: tuple[str, ...] = ()
    training: frozenset[str] = frozenset()
    neutral: Mapping[str, str] = {}  # the one value that is allowed


EVERYWHERE = "truth onlyforward stopbackward learning_rate smooth burnin_update train_only_bn dropout stream \
wait_stream"
LOADED = {"dontload": "0", "dontsave": "0", "numload": "0", "dontloadscales": "0"}


def _keys(used: str = "", training: str = "", neutral: str = "") -> Keys:
    allowed = dict(pair.split("=") for pair in neutral.split())
    return Keys(tuple(used.split()), frozenset(f"{EVERYWHERE} {training}".split()), LOADED | allowed)


KINDS: Mapping[str, Keys] = {
    "net": _keys(
        "height width channels",
        "batch subdivisions momentum decay learning_rate learning_rate_min policy steps scales scale step "
        "gamma seen power burn_in max_batches adam B1 B2 eps random max_crop min_crop max_ratio min_ratio "
        "center clip angle aspect saturation exposure hue notruth flip blur gaussian_noise mixup cutmix "
        "mosaic mosaic_bound letter_box label_smooth_eps resize_step ema_alpha use_cuda_graph loss_scale "
        "dynamic_minibatch optimized_memory workspace_size_limit_MB sgdr_cycle sgdr_mult seq_scales "
        "augment_speed sequential_subdivisions try_fix_nan weights_reject_freq equidistant_point "
        "badlabels_rejection_percentage num_sigmas_reject_badlabels adversarial_lr attention "
        "max_chart_loss contrastive contrastive_jit_flip contrastive_color unsupervised",
        "time_steps=1 track=0",
    ),
    "convolutional": _keys(
        "filters size stride stride_x stride_y pad padding groups dilation activation batch_normalize",
        "dot grad_centr",
        "binary=0 xnor=0 bin_output=0 cbn=0 flipped=0 antialiasing=0 assisted_excitation=0 sway=0 rotate=0 "
        "stretch=0 stretch_sway=0 reverse=0 coordconv=0",
    ),
    "maxpool": _keys(
        "size stride stride_x stride_y padding", "", "maxpool_depth=0 antialiasing=0 maxpool_zero_nonmax=0"
    ),
    "avgpool": _keys(),
    "route": _keys("layers groups group_id"),
    "shortcut": _keys("from activation", "", "alpha=1 beta=1 weights_type=none weights_normalization=none"),
    "upsample": _keys("stride", "", "scale=1"),
    "reorg": _keys("stride", "", "reverse=0 flatten=0 extra=0"),
    "local": _keys("filters size stride pad activation"),
    "connected": _keys("output activation batch_normalize"),
    "dropout": _keys("probability", "", "dropblock=0"),
    "softmax": _keys("", "noloss", "groups=1 temperature=1 spatial=0"),
    "cost": _keys("", "type scale ratio noobj thresh"),
    "detection": _keys(
        "classes num side",
        "rescore max coord_scale forced object_scale noobject_scale class_scale jitter resize random",
        "coords=4 sqrt=1 softmax=0 reorg=0",
    ),
    "region": _keys(
        "classes num anchors",
        "max jitter resize rescore thresh random coord_scale object_scale noobject_scale mask_scale "
        "class_scale bias_match absolute focal_loss",
        "coords=4 softmax=1 background=0 classfix=0 log=0 sqrt=0",
    ),
    "yolo": _keys(
        "classes num mask anchors",
        "max jitter resize ignore_thresh truth_thresh iou_thresh random show_details max_delta "
        "counters_per_class label_smooth_eps objectness_smooth iou_normalizer obj_normalizer cls_normalizer "
        "delta_normalizer iou_loss iou_thresh_kind beta_nms nms_kind focal_loss track_history_size "
        "sim_thresh dets_for_track dets_for_show track_ciou_norm",
        "scale_x_y=1 new_coords=0",
    ),
}
SHORT = {
    "network": "net",
    "conv": "convolutional",
    "max": "maxpool",
    "avg": "avgpool",
    "conn": "connected",
    "soft": "softmax",
}
