"""What a user typed becomes a list of image files."""

import pytest
from data_made import write_image

from concord.data.images.files import below, expand
from concord.errors import DataError


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.png", "sub/deep/d.gif", ".hidden.png", ".git/e.png"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def names(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_is_everything_below_it_sorted(tree):
    assert names(expand([str(tree)]), tree) == ["a.JPG", "b.png", "sub/c.png", "sub/deep/d.gif"]


def test_the_order_given_is_kept_and_nothing_is_merged(tree):
    given = [str(tree / "b.png"), str(tree / "sub"), str(tree / "b.png"), str(tree / "notes.txt")]
    assert names(expand(given), tree) == ["b.png", "sub/c.png", "sub/deep/d.gif", "b.png", "notes.txt"]


def test_patterns_match_images_and_folders(tree):
    assert names(expand([str(tree / "*.png")]), tree) == ["b.png"]
    assert names(expand([str(tree / "**" / "*.gif")]), tree) == ["sub/deep/d.gif"]
    assert names(expand([str(tree / "s*")]), tree) == ["sub/c.png", "sub/deep/d.gif"]


def test_a_relative_pattern_is_taken_from_here(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert [str(path) for path in expand(["sub/*.png", "b.png"])] == ["sub/c.png", "b.png"]


def test_a_name_that_exists_is_not_a_pattern(tmp_path):
    write_image(tmp_path / "photos [2024]" / "a.png")
    assert len(expand([str(tmp_path / "photos [2024]")])) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing*.png", "no image file matches"),
        ("c.png", r"c\.png: no such file or folder"),
        ("b.pngg", r"did you mean '.*b\.png'"),
        ("*.txt", "no image file matches"),
        (".git", "no such file or folder|holds no image"),
        ("a\0b", "cannot be read|no such file or folder"),
        ("x" * 5000, "cannot be read|no such file or folder"),
    ],
)
def test_what_matches_nothing_is_refused(tree, given, message):
    if given == ".git":
        (tree / ".git" / "e.png").unlink()
    with pytest.raises(DataError, match=message):
        expand([str(tree / "b.png"), str(tree / given)])


def test_loops_of_links_end(tree):
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "sub" / "self").symlink_to(tree / "sub")
    found = names(below(tree), tree)
    assert sorted(found) == sorted(
        [".hidden.png", "a.JPG", "b.png", "notes.txt", "sub/c.png", "sub/deep/d.gif"]
    )
