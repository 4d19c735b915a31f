"""What a unit sees of a picture: the region from the layers, and the gradient as its oracle."""

import json
import re
import shutil

import pytest
import torch
from PIL import Image
from run_made import call
from torch import nn
from torch.nn.functional import softplus

import concord
from concord.cost.count import count
from concord.cost.record import Priced
from concord.errors import DataError, UsageError
from concord.report.field_page import field_page
from concord.runs.seen import look, map_of

CHROMIUM = shutil.which("chromium")


class SmallUNet(nn.Module):
    """Two levels: convolutions, pooling, up-convolution or upsampling, crop and concatenation."""

    def __init__(self, padding, up, kernel=2, dilation=1):
        super().__init__()
        self.down = nn.Conv2d(2, 3, 3, padding=padding)
        self.low = nn.Conv2d(3, 4, 3, padding=padding * dilation, dilation=dilation)
        self.up = nn.ConvTranspose2d(4, 3, kernel, 2) if up == "transposed" else nn.Upsample(scale_factor=2)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Conv2d(3 + (3 if up == "transposed" else 4), 2, 1)

    def forward(self, x):
        skip = softplus(self.down(x))
        up = self.up(softplus(self.low(self.pool(skip))))
        top, left = ((a - b) // 2 for a, b in zip(skip.shape[2:], up.shape[2:], strict=True))
        crop = skip[:, :, max(0, top) : max(0, top) + up.shape[2], max(0, left) : max(0, left) + up.shape[3]]
        up = up[:, :, : crop.shape[2], : crop.shape[3]]
        return self.head(torch.cat([crop, up], 1))


def positive(network):
    """With positive weights and slopes no two paths cancel."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.1)
    return network


@pytest.mark.parametrize("up", ["transposed", "nearest"])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_region_of_every_unit_of_a_u_net_is_where_its_gradient_is_not_zero(up, padding, dilation):
    network = positive(SmallUNet(padding, up, 2, dilation))
    chosen = map_of(Priced("unet", ((2, 20, 16),), count(network, (2, 20, 16))))
    network.double()
    pixels = torch.arange(640, dtype=torch.uint8).view(2, 20, 16)
    height, width = chosen.output[-2:]
    for unit in [*((i, width // 2) for i in range(height)), *((height // 2, j) for j in range(width))]:
        seen = look(network, "unet", chosen, pixels, unit)
        for axis in (seen.rows, seen.columns):
            if axis.exact:
                assert axis.region == axis.gradient, unit
            assert axis.region[0] <= axis.gradient[0] <= axis.gradient[1] <= axis.region[1]
        assert dilation == 2 or (seen.rows.exact and seen.columns.exact)


def test_the_field_of_a_u_net_depends_on_the_phase_of_the_unit():
    # up-convolution of kernel 3: an odd unit reads one low unit, an even one two of them, which lie 2 apart
    network = positive(SmallUNet(1, "transposed", 3))
    priced = Priced("unet", ((2, 20, 20),), count(network, (2, 20, 20)))
    network.double()
    pixels = torch.full((2, 20, 20), 200, dtype=torch.uint8)
    sizes = []
    for row in (10, 11):
        seen = look(network, "unet", map_of(priced), pixels, (row, 10))
        assert seen.rows.region == seen.rows.gradient
        sizes.append(seen.rows.region[1] - seen.rows.region[0] + 1)
    assert sizes == [10, 8]


def test_a_later_map_of_the_same_shape_that_sees_everything_is_not_mistaken_for_it():
    class Excited(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x):
            y = self.conv(x)
            return y * y.mean((2, 3), keepdim=True)

    network = Excited()
    priced = Priced("excited", ((1, 9, 9),), count(network, (1, 9, 9)))
    seen = look(network, "excited", map_of(priced), torch.arange(81).to(torch.uint8).view(1, 9, 9), (4, 2))
    assert (seen.layer, seen.rows.gradient, seen.columns.gradient) == ("conv", (3, 5), (1, 3))


# --- from a picture ----------------------------------------------------------------


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a.png"
    pixels = torch.randint(
        0, 256, (150, 200, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    Image.fromarray(pixels.numpy()).save(path)
    return path


def test_the_network_of_merrikhi_sees_29_rows_inside_and_15_at_the_border(photo):
    before = torch.random.get_rng_state()
    corner = concord.explain_field("three_layer", photo, (0, 8))
    assert (corner.rows.whole, corner.rows.region, corner.rows.gradient) == ((-14, 14), (0, 14), (0, 14))
    assert (corner.columns.region, corner.columns.gradient) == ((50, 78), (50, 78))  # errata, row 17
    assert corner.rows.exact
    assert tuple(corner.picture.shape) == (3, 128, 128)
    assert not corner.gradient[15:].any()
    assert torch.equal(before, torch.random.get_rng_state())
    again, other = (concord.explain_field("three_layer", photo, (0, 8), seed=seed) for seed in (0, 1))
    assert torch.equal(corner.gradient, again.gradient)
    assert not torch.equal(corner.gradient, other.gradient)


def test_a_layer_in_the_middle_sees_less(photo):
    first = concord.explain_field("lenet5", photo, (3, 0), layer="c1")
    assert (first.map, first.rows.region, first.columns.region) == ((28, 28), (1, 5), (0, 2))
    assert first.rows.gradient == (1, 5)
    assert tuple(first.picture.shape) == (1, 28, 28)
    last = concord.explain_field("three_layer", photo, (8, 8), layer="features")
    assert (last.map, last.rows.region) == ((16, 16), (50, 78))


def test_a_map_that_a_function_makes_is_found_inside_its_module(photo):
    seen = concord.explain_field("noel2017_st", photo, (7, 0))
    assert (seen.layer, seen.type) == ("bricks.2.0", "add")
    assert seen.rows.gradient == seen.rows.region


# --- command line ------------------------------------------------------------------


def test_the_command_prints_the_table_and_writes_the_page(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, _ = call(capsys, "explain", "field", "three_layer", "--image", photo, "--unit", "0,8")
    assert status == 0
    assert re.search(r"rows +-14 to 14 \(29\) +0 to 14 \(15\) +0 to 14 \(15\)\n", out)
    assert "three_layer-field.html" in out
    page = (tmp_path / "three_layer-field.html").read_text()
    assert page.count("<svg") == 2
    assert "-14 to 14 (29)" in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)


def test_json_has_the_intervals_and_writes_no_page(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = "explain", "field", "three_layer", "--image", photo, "--unit", "0,8", "--json"
    status, out, _ = call(capsys, *line)
    assert (status, list(tmp_path.iterdir())) == (0, [])
    given = json.loads(out)
    assert given["rows"] == {"whole": [-14, 14], "region": [0, 14], "gradient": [0, 14], "exact": True}
    assert (given["layer"], given["map"], given["unit"]) == ("features", [16, 16], [0, 8])
    assert (given["picture"], given["page"]) == ([128, 128], None)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            ("three_layer", "--unit", "16,0"),
            UsageError,
            "16,0 is outside of the map of 16x16; rows are 0 to 15",
        ),
        (("three_layer", "--unit", "a"), UsageError, "--unit must be a whole number, or two"),
        (("three_layer", "--unit", "0,0", "--layer", "feature"), UsageError, "did you mean 'features'?"),
        (("lstm", "--unit", "0,0"), UsageError, "lstm takes 784x1; only networks of one grey or RGB picture"),
        (("multimodal_densenet", "--unit", "0,0"), UsageError, "only networks of one grey or RGB picture"),
        (("three_leyer", "--unit", "0,0"), UsageError, "did you mean 'three_layer'"),
        (("mine.py:Net", "--unit", "0,0"), UsageError, "networks of the zoo, torchvision and timm"),
        (("three_layer",), UsageError, "Missing option '--unit'"),
    ],
)
def test_what_has_no_field_is_refused(arguments, kind, message, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, "explain", "field", *arguments, "--image", photo)
    assert (status, out) == (kind.exit_status, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_an_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(DataError, match="not an image"):
        concord.explain_field("three_layer", tmp_path / "a.png", (0, 0))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_the_page_without_complaint(photo, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    file, complaints = tmp_path / "field.html", []
    concord.explain_field("three_layer", photo, (0, 8), to=file)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(file.as_uri())
        boxes = [drawing.bounding_box() for drawing in tab.query_selector_all("svg")]
        labels = tab.inner_text("body") + " ".join(tab.locator("svg text").all_text_contents())
        width = tab.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert complaints == []
    assert min(box["height"] for box in boxes) > 200
    assert boxes[0]["y"] == boxes[1]["y"]
    assert width <= 1100
    assert "mathdefault" not in labels


def test_a_unit_that_sees_nothing_has_a_page_too(photo):
    from dataclasses import replace

    seen = concord.explain_field("lenet5", photo, (3, 0), layer="c1")
    nothing = replace(seen.rows, whole=None, region=None, gradient=None, exact=False)
    page = field_page(replace(seen, rows=nothing, gradient=seen.gradient * 0))
    assert "none" in page
    assert "upper bounds" in page
