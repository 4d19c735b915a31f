"""A DenseNet that reads a picture and a text: one branch of dense blocks for each, features put together.

Source: G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional Networks",
2016, arXiv:1608.06993, section 3: dense blocks, bottlenecks and transitions of DenseNet-BC. Two branches,
fusion by concatenation and dense layers behind it are the structure of Merrikhi 2024, question 2.4. The
maximum over the text is that of Y. Kim, "Convolutional Neural Networks for Sentence Classification", 2014,
arXiv:1408.5882, section 2.

Departures from the papers:
  * Small: three blocks, as for CIFAR, of three layers each; the first convolution has stride 2.
  * The text branch is the same network over time, all its layers 1-d. An embedding of 2k numbers for each
    token stands where the picture has its first convolution of 2k maps.
  * Id 0 is padding. Whatever looks at neighbours sees zeros there, as beyond the end of the text, so in
    evaluation mode more padding changes no output. In training, batch normalisation counts padding in.
  * Merrikhi 2024 puts feature maps together. A picture and a text have no common grid, so here it is one
    number for each map: its mean over the picture, its maximum over the text.
  * These numbers are normalised before the dense layer. A mean over a picture varies far less from sample to
    sample than a maximum over a text, and without this what only both together tell is hardly learned.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from concord.errors import ShapeError, UsageError
from concord.layers.pictures import require_pictures
from concord.zoo.registry import register

CONV = {1: nn.Conv1d, 2: nn.Conv2d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
POOL = {1: nn.AvgPool1d, 2: nn.AvgPool2d}

Seen = tuple[Tensor, Tensor | None]  # maps (B, C, ...), and for a text where there is one: (B, 1, T) bool


def only(x: Tensor, real: Tensor | None) -> Tensor:
    """x, with zeros where there is no text. Shape: (B, C, ...) -> (B, C, ...)"""
    return x if real is None else x * real


class DenseLayer(nn.Module):
    """[x, conv3(relu(norm(conv1(relu(norm(x))))))]: k new maps behind all earlier ones.

    Shape: (B, C, ...) -> (B, C + k, ...), over a picture (2 dimensions) or over time (1)
    """

    def __init__(self, dimensions: int, width: int, growth: int) -> None:
        super().__init__()
        self.norm1 = NORM[dimensions](width)
        self.conv1 = CONV[dimensions](width, 4 * growth, 1, bias=False)
        self.norm2 = NORM[dimensions](4 * growth)
        self.conv2 = CONV[dimensions](4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor, real: Tensor | None) -> Seen:
        y = relu(self.norm2(self.conv1(relu(self.norm1(x)))))
        return torch.cat([x, self.conv2(only(y, real))], 1), real


class Transition(nn.Module):
    """pool(conv1(relu(norm(x)))): half the maps, half of every side.

    Shape: (B, C, ...) -> (B, C // 2, ...)
    """

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.norm = NORM[dimensions](width)
        self.conv = CONV[dimensions](width, width // 2, 1, bias=False)
        self.pool = POOL[dimensions](2)

    def forward(self, x: Tensor, real: Tensor | None) -> Seen:
        x = self.pool(only(self.conv(relu(self.norm(x))), real))
        return x, None if real is None else real[..., ::2] | real[..., 1::2]  # (B, 1, T) -> (B, 1, T / 2)


class Branch(nn.Module):
    """Dense blocks with a transition between two of them, then normalisation and ReLU.

    Shape: (B, 2k, ...) -> (B, width, ...)
    """

    def __init__(self, dimensions: int, growth: int, layers: int, blocks: int) -> None:
        super().__init__()
        width = 2 * growth
        self.layers = nn.ModuleList()
        for block in range(blocks):
            if block:
                self.layers.append(Transition(dimensions, width))
                width //= 2
            for _ in range(layers):
                self.layers.append(DenseLayer(dimensions, width, growth))
                width += growth
        self.norm = NORM[dimensions](width)
        self.width = width

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x, real = layer(x, real)
        return only(relu(self.norm(x)), real)


class MultimodalDenseNet(nn.Module):
    """Picture -> dense blocks -> mean; text -> dense blocks -> maximum; both -> dense layer -> classes.

    Of a text that is padding alone all features are zero. While the network is compiled or exported it does
    not look whether ids are in the vocabulary.

    Shape: (B, C, H, W), (B, T) int64 -> (B, K) logits; ShapeError unless H and W are at least 2^blocks - 1,
    T is at least 1 and all ids are below ``vocabulary``
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        vocabulary: int,
        growth: int,
        layers: int,
        blocks: int,
        hidden: int,
        dropout: int = 0,
    ) -> None:
        _refuse_sizes(min(channels, classes, growth, layers, blocks, hidden), vocabulary, dropout)
        super().__init__()
        self.stem = nn.Conv2d(channels, 2 * growth, 3, stride=2, padding=1, bias=False)
        self.embedding = nn.Embedding(vocabulary, 2 * growth, padding_idx=0)
        self.image = Branch(2, growth, layers, blocks)
        self.text = Branch(1, growth, layers, blocks)
        self.norm = nn.BatchNorm1d(2 * self.image.width)
        self.fusion = nn.Linear(2 * self.image.width, hidden)
        self.dropout = nn.Dropout(dropout / 100)
        self.head = nn.Linear(hidden, classes)
        self.channels, self.vocabulary = channels, vocabulary
        self.smallest, self.multiple = 2**blocks - 1, 2 ** (blocks - 1)
        for layer in self.modules():  # He's start, section 4.2 of Huang et al.
            if isinstance(layer, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, image: Tensor, text: Tensor | None = None) -> Tensor:
        require_pictures(image, self.channels, self.smallest)
        if text is None:  # what trains on pictures alone, such as `concord train`
            raise ShapeError(
                "expected a picture and a text, got a picture alone; `concord train` gives pictures only: "
                "concord.Ensemble trains this network on both, as tools/train_multimodal.py does"
            )
        self._require_text(text, image.shape[0])
        seen = self.image(self.stem(image)).mean((2, 3))  # (B, C, H, W) -> (B, D)
        text = pad(text, (0, -text.shape[1] % self.multiple))  # every transition halves T without a rest
        real = (text != 0).unsqueeze(1)
        read = self.text(self.embedding(text).transpose(1, 2), real).amax(2)  # (B, 2k, T) -> (B, D)
        both = self.norm(torch.cat([seen, read], 1))  # (B, 2D)
        return self.head(self.dropout(relu(self.fusion(both))))

    def _require_text(self, text: Tensor, pictures: int) -> None:
        if text.ndim != 2 or text.shape[1] < 1 or text.dtype not in (torch.int64, torch.int32):
            raise ShapeError(f"expected (B, T) int64 as the text, got {tuple(text.shape)} {text.dtype}")
        if text.shape[0] != pictures:
            raise ShapeError(f"expected one text for each of {pictures} pictures, got {text.shape[0]}")
        if torch.compiler.is_compiling() or text.is_meta:  # there are no ids yet
            return
        wrong = text[(text < 0) | (text >= self.vocabulary)]
        if len(wrong):
            raise ShapeError(
                f"id {wrong[0].item()} is outside the vocabulary of {self.vocabulary} (ids 0 to "
                f"{self.vocabulary - 1}, 0 is padding); vocabulary=N builds a network with a larger one"
            )


def _refuse_sizes(smallest: int, vocabulary: int, dropout: int) -> None:
    if smallest < 1:
        raise UsageError("channels, classes, growth, layers, blocks and hidden must be at least 1")
    if vocabulary < 2:
        raise UsageError(f"vocabulary must be at least 2, id 0 being padding, got {vocabulary}")
    if not 0 <= dropout < 100:
        raise UsageError(f"dropout is a percentage from 0 to 99, got {dropout}")


@register(
    example=(1, 28, 28),
    text=(26, 28),
    parameters=148_890,
    source="Huang et al. 2016, section 3 (k=12), with a text branch: Merrikhi 2024, question 2.4",
)
def multimodal_densenet(
    channels: int = 1,
    classes: int = 10,
    *,
    vocabulary: int = 28,
    growth: int = 12,
    layers: int = 3,
    blocks: int = 3,
    hidden: int = 256,
    dropout: int = 0,
) -> nn.Module:
    """Both branches alike: ``blocks`` of ``layers`` with ``growth`` maps each; ``dropout`` in percent.

    The default vocabulary is padding, the space and the letters a to z.

    Parameters: stem 216, image blocks 21,240 + 22,140 + 22,590, embedding 672, text blocks 10,872 + 11,772
    + 12,222, transitions 2 x (1,920 + 2,310), last norms 2 x 138, fusion 276 + 35,584, head 2,570. A layer
    that reads C maps has 50 C + 5,280 over a picture, 50 C + 1,824 over a text: 2 C + 48 C, then 96 + 9 48 12
    or 96 + 3 48 12.
    """
    return MultimodalDenseNet(
        channels,
        classes,
        vocabulary=vocabulary,
        growth=growth,
        layers=layers,
        blocks=blocks,
        hidden=hidden,
        dropout=dropout,
    )
