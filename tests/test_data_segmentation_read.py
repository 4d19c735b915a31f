"""Finding images with masks, tables of classes, and what is wrong with either."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masks_made import VOC, folder, picture, save, stack, truth

from concord.data.images import decode
from concord.data.normalise import Normalise
from concord.data.segmentation import class_file
from concord.data.segmentation.load import refuse
from concord.data.segmentation.read import is_segmentation, read
from concord.data.segmentation.samples import Known, decoded
from concord.errors import DataError, MissingDataError, UsageError


def names(root, **asked):
    """Part -> names of its samples."""
    found = read(root, **asked)
    assert not found.bad
    return {part: [pair.name for pair in rest.pairs] for part, rest in found.parts.items()}


def faults(root, **asked):
    """What the refusal of a folder says."""
    with pytest.raises(DataError) as refused:
        refuse(str(root), read(root, **asked))
    return str(refused.value)


def classes(root, i=0, **asked):
    """The classes of a sample, and the table."""
    found = read(root, **asked)
    refuse(str(root), found)
    with decode.quiet():
        raster = found.parts["train"].pairs[i].truth.read(50)
    return found.table.classes_of(raster).tolist(), found.table


# Layouts


def test_images_and_masks_meet_by_name_in_the_order_of_numbers(tmp_path):
    folder(tmp_path, ["10", "9", "b", "a2", "a10"])
    assert names(tmp_path) == {"train": ["9", "10", "a2", "a10", "b"]}


@pytest.mark.parametrize("pair", [("image", "label"), ("imgs", "masks"), ("JPEGImages", "SegmentationClass")])
def test_folders_have_their_usual_names(pair, tmp_path):
    folder(tmp_path, "ab")
    (tmp_path / "images").rename(tmp_path / pair[0])
    (tmp_path / "masks").rename(tmp_path / pair[1])
    assert names(tmp_path) == {"train": ["a", "b"]}


def test_parts_stand_above_or_below_the_two_folders_or_beside_each_other(tmp_path):
    for part, name in (("train", "abc"), ("val", "d")):
        folder(tmp_path / "above" / part, name)
        for seed, each in enumerate(name):
            save(tmp_path / "below/images" / part / f"{each}.png", picture(seed))
            save(tmp_path / "below/masks" / part / f"{each}.png", truth(seed))
            save(tmp_path / "beside" / part / f"{each}.png", picture(seed))
            save(tmp_path / "beside" / f"{part}_labels" / f"{each}_L.png", truth(seed))
    expected = {"train": ["a", "b", "c"], "valid": ["d"]}
    assert names(tmp_path / "above") == expected
    assert names(tmp_path / "beside") == expected
    below = names(tmp_path / "below")
    assert {part: [name[-1] for name in rest] for part, rest in below.items()} == expected


def test_a_single_training_part_is_cut_like_a_folder_without_parts(tmp_path):
    folder(tmp_path / "train", "abc")
    assert names(tmp_path) == {"train": ["a", "b", "c"]}


def test_lists_of_names_make_the_parts(tmp_path):
    folder(tmp_path, "abcde")
    (tmp_path / "test.txt").write_text("b\nd.png\n\n")
    assert names(tmp_path) == {"test": ["b", "d"], "train": ["a", "c", "e"]}
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("e\na\n")
    save(tmp_path / "images/f.png", picture(9))  # an image without a mask, of which no list speaks
    found = read(tmp_path)
    assert [pair.name for pair in found.parts["train"].pairs] == ["e", "a"]
    assert not found.bad
    assert "2 files in no list of names left out" in found.notices


def test_names_in_lists_that_are_unknown_or_stand_twice_are_refused_with_their_line(tmp_path):
    folder(tmp_path, "ab")
    (tmp_path / "test.txt").write_text("a\nz\n")
    with pytest.raises(DataError, match=r"test\.txt, line 2: z has no image with a mask"):
        read(tmp_path)
    (tmp_path / "test.txt").write_text("a\n")
    (tmp_path / "val.txt").write_text("b\na\n")
    with pytest.raises(DataError, match=r"line \d: a stands in two places"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("images", "masks"), [("images.tif", "masks.tiff"), ("train-volume.tif", "train-labels.tif")]
)
def test_frames_of_two_stacks_are_samples(images, masks, tmp_path):
    pictures = [picture(i) for i in range(3)]
    stack(tmp_path / images, pictures)
    stack(tmp_path / masks, [truth(i, values=(0, 255)) for i in range(3)])
    found = read(tmp_path)
    assert [pair.name for pair in found.parts["train"].pairs] == ["0", "1", "2"]
    assert str(found.parts["train"].pairs[2].image).endswith(f"{images}[2]")
    rows, _ = classes(tmp_path, 2)
    assert rows == (truth(2)).tolist()


def test_stacks_of_different_length_are_refused(tmp_path):
    stack(tmp_path / "images.tif", [picture(i) for i in range(3)])
    stack(tmp_path / "masks.tif", [truth(0)] * 2)
    with pytest.raises(DataError, match=r"images\.tif has 3 frames, .*masks\.tif has 2"):
        read(tmp_path)


def test_a_folder_of_classes_or_of_boxes_is_not_taken_for_masks(tmp_path):
    for name in ("cat", "images"):
        save(tmp_path / "photos" / name / "a.png", picture(0))
    folder(tmp_path / "boxes", "a")
    (tmp_path / "boxes/masks/a.png").unlink()
    (tmp_path / "boxes/masks").rename(tmp_path / "boxes/labels")
    (tmp_path / "boxes/labels/a.txt").write_text("0 .5 .5 .1 .1")
    assert not is_segmentation(tmp_path / "photos")
    assert not is_segmentation(tmp_path / "boxes")
    assert not is_segmentation(tmp_path / "nothing")
    assert is_segmentation(folder(tmp_path / "masks", "a"))
    with pytest.raises(DataError, match=r"has no images with masks; they lie as one of"):
        read(tmp_path / "photos")


def test_a_path_without_anything_is_missing(tmp_path):
    with pytest.raises(MissingDataError, match="does not exist"):
        read(tmp_path / "none")


# Tables of classes


def test_black_and_white_masks_have_two_classes(tmp_path):
    rows, table = classes(folder(tmp_path, "ab", values=(0, 255)))
    assert rows == truth(0).tolist()
    assert table.classes == ("black", "white")


def test_masks_of_one_bit_are_black_and_white(tmp_path):
    folder(tmp_path, "ab", values=(0, 255))
    save(tmp_path / "masks/a.png", truth(0, values=(0, 255)), mode="1")
    assert classes(tmp_path)[0] == truth(0).tolist()


def test_a_table_gives_names_and_their_order(tmp_path):
    folder(tmp_path, "ab", values=(0, 255))
    (tmp_path / "classes.csv").write_text("cell,255\nmembrane,0\n")
    rows, table = classes(tmp_path)
    assert table.classes == ("cell", "membrane")
    assert rows == (1 - truth(0)).tolist()
    again, _ = classes(tmp_path, classes={"membrane": 0, "cell": 255})  # what is given comes first
    assert again == truth(0).tolist()


def test_values_from_zero_are_classes_and_gaps_are_noticed(tmp_path):
    found = read(folder(tmp_path, "ab", values=(0, 1, 3)))
    assert found.table.classes == ("0", "1", "2", "3")
    assert "taken for 4 classes; no pixel has 2" in found.notices[0]


def test_a_palette_takes_its_index_whatever_its_colours(tmp_path):
    folder(tmp_path, "ab", values=(0, 1, 2))
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    for seed, name in enumerate("ab"):
        save(tmp_path / "masks" / f"{name}.png", truth(seed, values=(0, 1, 2)), palette=colours)
    assert classes(tmp_path)[0] == truth(0, values=(0, 1, 2)).tolist()


def test_the_palette_of_voc_has_its_classes_and_255_counts_for_nothing(tmp_path):
    assert VOC[[1, 15, 255]].tolist() == [[128, 0, 0], [192, 128, 128], [224, 224, 192]]
    folder(tmp_path, "ab")
    for seed, name in enumerate("ab"):
        save(tmp_path / "masks" / f"{name}.png", truth(seed, values=(0, 15, 255)), palette=VOC)
    rows, table = classes(tmp_path)
    assert table.classes[15] == "person"
    assert len(table.classes) == 21
    assert rows == truth(0, values=(0, 15, -1)).tolist()


COLOURS = np.array([[64, 128, 64], [0, 0, 0], [192, 0, 128]])


@pytest.mark.parametrize("kind", ["rgb", "palette"])
def test_colours_are_classes_by_a_table_and_void_counts_for_nothing(kind, tmp_path):
    folder(tmp_path, "ab")
    for seed, name in enumerate("ab"):
        index = truth(seed, values=(0, 1, 2))
        palette = np.concatenate([COLOURS, np.zeros((253, 3), int)])
        pixels = COLOURS[index] if kind == "rgb" else index
        save(tmp_path / "masks" / f"{name}.png", pixels, palette=None if kind == "rgb" else palette)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nAnimal,64,128,64\nVoid,0,0,0\nRoad,192,0,128\n")
    rows, table = classes(tmp_path)
    assert table.classes == ("Animal", "Road")
    assert rows == truth(0, values=(0, -1, 1)).tolist()


def test_colours_that_differ_in_one_channel_are_no_grey(tmp_path):
    folder(tmp_path, "a")
    for channel in range(3):
        colour = [0, 0, 0]
        colour[channel] = 128
        save(tmp_path / "masks/a.png", np.array([[0, 0, 0], colour])[truth(0)])
        rows, _ = classes(tmp_path, classes={"back": (0, 0, 0), "front": tuple(colour)})
        assert rows == truth(0).tolist()


def test_grey_saved_as_rgb_is_its_value(tmp_path):
    folder(tmp_path, "ab")
    save(tmp_path / "masks/a.png", truth(0), mode="RGB")
    assert classes(tmp_path)[0] == truth(0).tolist()


KINDS = st.sampled_from(["index", "black and white", "palette", "rgb"])


@settings(max_examples=25, deadline=None)
@given(kind=KINDS, count=st.integers(2, 6), seed=st.integers(0, 99))
def test_classes_come_back_from_masks_of_every_kind(kind, count, seed, tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    count = 2 if kind == "black and white" else count
    index = truth(seed, values=range(count))
    rng = np.random.default_rng(seed)
    colours = rng.permutation(256)[: 3 * count].reshape(count, 3)
    save(root / "images/a.png", picture(0))
    pixels = {"index": index, "palette": index, "black and white": 255 * index, "rgb": colours[index]}[kind]
    palette = np.concatenate([colours, np.zeros((256 - count, 3), int)]) if kind == "palette" else None
    save(root / "masks/a.png", pixels, palette=palette)
    table = {f"class{k}": tuple(map(int, colours[k])) for k in range(count)} if kind == "rgb" else None
    assert classes(root, classes=table)[0] == index.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sky\ntraffic light\n", (("sky", 0), ("traffic light", 1))),
        ("# label:color_rgb:parts:actions\nsky:0,0,0::\ncar:128,0,0::\n", (("sky", 0), ("car", 128 * 65536))),
        ("\ufeffclass;value\nsky;3\nroad works;9", (("sky", 3), ("road works", 9))),
        ('"sky" 0\n"car"\t200\n', (("sky", 0), ("car", 200))),
    ],
)
def test_tables_of_classes_are_read_as_tools_write_them(text, expected, tmp_path):
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    table = class_file.from_file(tmp_path / "classes.txt")
    assert tuple(zip(table.classes, (code for code, _ in table.codes), strict=True)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,0\nb,1,2\n", r"line 2: 'b,1,2' is not a row of NAME"),
        ("a,0\nb,0\n", "the value 0 stands twice"),
        ("a,0\na,1\n", "the class 'a' stands twice"),
        ("a,0\nb,1,2,3\n", "some classes have a value and some a colour"),
        ("a,0\nignore,1\n", "2 or more classes, got a"),
        ("", "2 or more classes, got none"),
        ("a,0,0,256\nb,0,0,0", "expected a value 0 to 65535 or r, g, b"),
        ("a\x00,\xff", "cannot be read"),
    ],
)
def test_tables_that_fit_nothing_are_refused(text, said, tmp_path):
    (tmp_path / "classes.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"classes\.csv.*{said}"):
        class_file.from_file(tmp_path / "classes.csv")


def test_classes_given_in_python_are_checked_too(tmp_path):
    with pytest.raises(UsageError, match="the value 1 stands twice"):
        read(folder(tmp_path, "a"), classes={"a": 1, "b": 1})


@given(content=st.one_of(st.binary(max_size=60), st.text("ab,; 019:#\n\t", max_size=40).map(str.encode)))
@settings(deadline=None)
def test_any_file_of_classes_is_a_table_or_refused(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "classes.csv"
    path.write_bytes(content)
    with suppress(DataError):
        table = class_file.from_file(path)
        assert len(table.classes) >= 2
        assert all(0 <= code < 2**24 and k < len(table.classes) for code, k in table.codes)


# Bad input


def test_black_and_white_where_classes_are_expected_is_refused_with_the_file(tmp_path):
    folder(tmp_path, "ab")
    save(tmp_path / "masks/b.png", truth(1, values=(0, 255)))
    text = faults(tmp_path, classes={"back": 0, "front": 1})
    assert "masks/b.png has " in text
    assert "of 255, but the classes have 0 and 1; it is black and white" in text
    assert "or give the classes 0 and 255" in text


def test_values_that_a_table_does_not_have_are_refused_with_their_number_of_pixels(tmp_path):
    folder(tmp_path, "ab", values=(0, 1, 7))
    count = int((truth(0, values=(0, 1, 7)) == 7).sum())
    text = faults(tmp_path, classes={"back": 0, "front": 1})
    assert f"masks/a.png has {count} pixels ({count / 192:.1%}) of 7, but the classes have 0 and 1" in text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 1, 255), "values 0, 1 and 255: which class each of them is must be said"),
        ((0, 128), "values 0 and 128: which class"),
        (range(100, 200), "as photographs and smoothed edges have"),
        ((3,), "all masks are empty: every pixel has the value 3"),
    ],
)
def test_values_that_could_mean_several_things_are_refused(values, said, tmp_path):
    text = faults(folder(tmp_path, "ab", values=values, size=(64, 64)))
    assert said in text
    assert str(tmp_path) in text


def test_colours_without_a_table_are_refused(tmp_path):
    folder(tmp_path, "ab")
    save(tmp_path / "masks/a.png", COLOURS[truth(0)])
    assert "masks hold colours: which class each of them is must be said; write a file" in faults(tmp_path)
    assert "masks/a.png holds colours, but the classes have values" in faults(
        tmp_path, classes={"a": 0, "b": 1}
    )


def test_unknown_colours_are_named(tmp_path):
    folder(tmp_path, "a")
    save(tmp_path / "masks/a.png", COLOURS[truth(0, values=(0, 1, 2))])
    text = faults(tmp_path, classes={"a": (64, 128, 64), "b": (0, 0, 0)})
    assert "of (192, 0, 128), but the classes have (0, 0, 0) and (64, 128, 64)" in text


def test_a_mask_of_another_size_than_its_image_is_refused(tmp_path):
    folder(tmp_path, "ab")
    save(tmp_path / "masks/b.png", truth(0, size=(16, 12)))
    assert "masks/b.png: the mask has 12x16 pixels, its image 16x12" in faults(tmp_path)


def test_two_masks_of_one_image_are_refused_whatever_ending_they_have(tmp_path):
    folder(tmp_path, "ab")
    save(tmp_path / "masks/a_mask.png", truth(7))
    assert "masks/a_mask.png: has the name of a.png; keep one of them" in faults(tmp_path)
    (tmp_path / "masks/a.png").unlink()
    save(tmp_path / "masks/a_label.png", truth(7))
    assert "masks/a_mask.png: has the name of a_label.png; keep one of them" in faults(tmp_path)


@pytest.mark.parametrize("row", ["bg,zero", "bg,-1", "bg;0.5", "bg:1,2,x"])
def test_a_row_of_a_table_with_something_else_than_whole_numbers_is_refused(row, tmp_path):
    (tmp_path / "classes.csv").write_text(f"{row}\nfg,1\n")
    with pytest.raises(DataError, match=r"classes\.csv, line 1: .* is not a row of NAME"):
        class_file.from_file(tmp_path / "classes.csv")


def test_files_that_stand_alone_or_twice_are_refused_and_all_of_them_named(tmp_path):
    folder(tmp_path, "abc")
    (tmp_path / "masks/b.png").unlink()
    (tmp_path / "images/c.png").unlink()
    save(tmp_path / "images/a.bmp", picture(0))
    text = faults(tmp_path)
    assert text.startswith("3 files of ")
    assert "images/b.png: has no mask of that name in masks" in text
    assert "masks/c.png: has no image of that name in images" in text
    assert "has the name of a.bmp; keep one of them" in text


def test_names_that_never_meet_are_refused_with_an_example(tmp_path):
    save(tmp_path / "images/a.png", picture(0))
    save(tmp_path / "masks/b.png", truth(0))
    with pytest.raises(DataError, match=r"no image has a mask of its name, such as .*a\.png"):
        read(tmp_path)


def test_a_mask_that_lost_values_to_compression_is_refused(tmp_path):
    folder(tmp_path, "a")
    save(tmp_path / "masks/a.jpg", truth(0, values=(0, 255)))
    (tmp_path / "masks/a.png").unlink()
    assert "a.jpg is a JPEG, whose compression changes values; save masks as PNG" in faults(tmp_path)


def test_damaged_files_are_named(tmp_path):
    folder(tmp_path, "abc")
    (tmp_path / "images/a.png").write_bytes(b"")
    path = tmp_path / "masks/b.png"
    path.write_bytes(path.read_bytes()[:60])
    text = faults(tmp_path)
    assert "images/a.png is empty (0 bytes)" in text
    assert "masks/b.png" in text


def test_a_mask_that_changes_after_it_was_looked_at_is_refused(tmp_path):
    found = read(folder(tmp_path, "ab"))
    known = Known(found.table, "L", Normalise((0.0,), (1.0,)))
    pair = found.parts["train"].pairs[0]
    save(tmp_path / "masks/a.png", truth(0, values=(0, 9)))
    with pytest.raises(DataError, match=r"masks/a\.png has .* of 9, but the classes have 0 and 1"):
        decoded(pair, known, 50)
    save(tmp_path / "masks/a.png", truth(0, size=(4, 4)))
    with pytest.raises(DataError, match=r"the mask has 4x4 pixels, its image 16x12"):
        decoded(pair, known, 50)
