"""The networks of torchvision on the zoo's list, where they can be compared with its own.

They are torchvision's classes as they are. ``foreign`` fits them to other numbers of channels and classes,
and ``zoo.build`` gives them pretrained weights where they are asked for.

Departures of torchvision from the papers:
  * alexnet has one tower and no response normalisation; ``alexnet_paper`` is the network of 2012.
  * vgg*_bn has batch normalisation after every convolution; the paper has none.
  * resnet50, 101 and 152 have the stride on the 3x3 ("v1.5"); ``resnet50_2015`` has it on the first 1x1.
  * squeezenet1_1 is the authors' later and cheaper form.
"""

from typing import TYPE_CHECKING

from concord.zoo import foreign
from concord.zoo.registry import Build, register

if TYPE_CHECKING:
    from torch import nn

PAPERS = {
    "Krizhevsky 2014, arXiv:1404.5997: AlexNet, one tower": {"alexnet": 61_100_840},
    "Simonyan, Zisserman 2014, arXiv:1409.1556: VGG": {
        "vgg11": 132_863_336,
        "vgg13": 133_047_848,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
    },
    "Simonyan, Zisserman 2014, arXiv:1409.1556: VGG with batch normalisation": {
        "vgg11_bn": 132_868_840,
        "vgg13_bn": 133_053_736,
        "vgg16_bn": 138_365_992,
        "vgg19_bn": 143_678_248,
    },
    "He, Zhang, Ren, Sun 2015, arXiv:1512.03385: ResNet": {"resnet18": 11_689_512, "resnet34": 21_797_672},
    "He, Zhang, Ren, Sun 2015, arXiv:1512.03385: ResNet, stride on the 3x3": {
        "resnet50": 25_557_032,
        "resnet101": 44_549_160,
        "resnet152": 60_192_808,
    },
    "Xie, Girshick, Dollár, Tu, He 2017, arXiv:1611.05431: ResNeXt": {
        "resnext50_32x4d": 25_028_904,
        "resnext101_32x8d": 88_791_336,
        "resnext101_64x4d": 83_455_272,
    },
    "Zagoruyko, Komodakis 2016, arXiv:1605.07146: Wide ResNet": {
        "wide_resnet50_2": 68_883_240,
        "wide_resnet101_2": 126_886_696,
    },
    "Huang, Liu, van der Maaten, Weinberger 2017, arXiv:1608.06993: DenseNet": {
        "densenet121": 7_978_856,
        "densenet161": 28_681_000,
        "densenet169": 14_149_480,
        "densenet201": 20_013_928,
    },
    "Sandler, Howard, Zhu, Zhmoginov, Chen 2018, arXiv:1801.04381: MobileNet v2": {"mobilenet_v2": 3_504_872},
    "Iandola et al. 2016, arXiv:1602.07360: SqueezeNet": {
        "squeezenet1_0": 1_248_424,
        "squeezenet1_1": 1_235_496,
    },
}


def _builder(name: str) -> Build:
    def build(channels: int = 3, classes: int = 1000) -> "nn.Module":
        return foreign.from_torchvision(name, channels, classes, pretrained=False)

    build.__name__ = build.__qualname__ = name
    return build


for source, networks in PAPERS.items():
    for name, parameters in networks.items():
        register(example=(3, 224, 224), parameters=parameters, source=source, library="torchvision")(
            _builder(name)
        )
