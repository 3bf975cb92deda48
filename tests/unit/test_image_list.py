"""The list of a data set's images, and what an owner may name images by."""

from pathlib import Path

import pytest
from commands import run
from PIL import Image

from uapfp_dist.data import Dataset, load
from uapfp_dist.data.file_names import read_name, shown
from uapfp_dist.data.image_list import list_lines, read_list, write_list
from uapfp_dist.errors import UserError
from uapfp_dist.verification.enrollment.owner_images import read_index

ODD = ("a\tb.png", "a\nb.png", '"q".png', " x.png", "\u202ex.png", "é 猫.png", "12", "#1.png", "a\\b.png", "\udcff.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Training and test images of two classes, one of which has odd names."""
    for part, n in (("train", 12), ("test", 10)):
        for name in ("cat", "dog"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for i in range(n):
                Image.new("L", (3, 3), i).save(tmp_path / "data" / part / name / f"{i:02}.png")
    for i, name in enumerate(ODD):
        Image.new("L", (3, 3), 50 + i).save(tmp_path / "data" / "train" / "dog" / name, format="PNG")
    return tmp_path / "data"


@pytest.fixture
def images(root: Path) -> Dataset:
    """Those."""
    return load("imagefolder", root)


def listed(folder: Path, *lines: str) -> Path:
    """A text file of lines."""
    path = folder / "list.txt"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize("name", [*ODD, "plain.png", "", '"', "\u2028", "a\x00"])
def test_a_name_stays_on_its_line(name: str) -> None:
    assert shown(name).isprintable()
    assert read_name(shown(name)) == name
    shown(name).encode()


def test_the_list_comes_back_whole(images: Dataset, tmp_path: Path) -> None:
    """Index, class and file of every image, odd names too."""
    write_list(images, tmp_path / "all.txt")
    lines = (tmp_path / "all.txt").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "0\tcat\ttrain/cat/00.png"
    assert lines[-1] == ""
    assert len(lines) == len(images.labels) + 1
    assert read_list(tmp_path / "all.txt", images) == list(range(len(images.labels)))
    assert not list(tmp_path.glob("*.tmp"))


def test_a_shortened_list_names_the_training_images(images: Dataset, tmp_path: Path) -> None:
    """As an owner does it: lines chosen by their file."""
    lines = [line for line in list_lines(images) if "train/" in line]
    assert read_index(listed(tmp_path, *reversed(lines)), images).tolist() == list(range(images.n_train or 0))


def test_files_name_images(images: Dataset, tmp_path: Path) -> None:
    """In any order, with or without ./, as `find` gives them, with the line ends of Windows."""
    names = [f"./{name}" if i % 2 else name for i, name in enumerate(images.files) if shown(name) == name]
    path = listed(tmp_path, *(f"{name}\r" for name in reversed(names)), "", "")
    assert [images.files[i] for i in read_list(path, images)] == [name.removeprefix("./") for name in reversed(names)][
        ::-1
    ]


def test_indices_name_images_as_before(images: Dataset, tmp_path: Path) -> None:
    """One a line, or several."""
    assert read_list(listed(tmp_path, "3", "1 2", "", " 7\t9 "), images) == [1, 2, 3, 7, 9]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["train/cat/00.png", "train/cat/99.png"], ["line 2", "or a file such as train/cat/00.png", "cat/99.png"]),
        (["train/cat/00.png", "./train/cat/00.png"], ["line 2", "each image once", "line 1"]),
        (["5", "6", "5"], ["line 3", "each image once", "line 1"]),
        (["5", "train/cat/00.png"], ["line 2", "expected indices as in the first line, got files"]),
        (["train/cat/00.png", "5"], ["line 2", "expected files as in the first line, got indices"]),
        (["0\tcat\ttrain/cat/00.png", "5"], ["line 2", "expected lines of a numbered list"]),
        (["1\tcat\ttrain/cat/00.png"], ["line 1", "train/cat/01.png", "have changed since, write the list anew"]),
        (["0\tdog\ttrain/cat/00.png"], ["line 1", "have changed since"]),
        (["0\tcat"], ["line 1", "have changed since"]),
        (["99\tcat\ttrain/cat/00.png"], ["line 1", "index from 0 to 53", "99"]),
        (["-1"], ["line 1", "index from 0 to 53", "got -1"]),
        (["54"], ["line 1", "index from 0 to 53"]),
        (["--5"], ["line 1", "index from 0 to 53"]),
        (["1.5"], ["line 1", "index from 0 to 53"]),
        (["cat 3"], ["line 1"]),
        (["\x00\x1b[31m"], ["line 1", "\\u0000\\u001b[31m"]),
    ],
)
def test_lines_that_name_no_image_are_refused(
    lines: list[str], words: list[str], images: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read_index(listed(tmp_path, *lines), images)
    assert caught.value.argument == "trained_on"
    assert str(caught.value).isprintable()
    assert all(word in str(caught.value) for word in words), caught.value


def test_few_images_are_refused(images: Dataset, tmp_path: Path) -> None:
    """Also none at all, and a file that is none, or is no text."""
    with pytest.raises(UserError, match=r"at least 20 different images, got 3"):
        read_index(listed(tmp_path, "1 2 3"), images)
    with pytest.raises(UserError, match=r"at least 20 different images, got 0"):
        read_index(listed(tmp_path, ""), images)
    with pytest.raises(UserError, match=r"trained_on: expected a text file at .*nowhere"):
        read_index(tmp_path / "nowhere", images)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"trained_on: expected a text file at"):
        read_index(tmp_path / "list.txt", images)


def test_a_folder_that_changed_is_noticed(root: Path, images: Dataset, tmp_path: Path) -> None:
    """A new file in the middle moves the numbers of all that follow."""
    write_list(images, tmp_path / "all.txt")
    Image.new("L", (3, 3), 99).save(root / "train" / "cat" / "005.png")
    with pytest.raises(UserError, match=r"line 1 .*expected image 0 to be .*cat/00\.png"):
        read_list(listed(tmp_path, "0\tcat\ttrain/cat/0.png"), load("imagefolder", root))
    with pytest.raises(UserError, match=r"line 2 .*image 1 to be .*005\.png.* the images have changed since"):
        read_list(tmp_path / "all.txt", load("imagefolder", root))


def test_images_without_files_have_index_and_class(digits: Dataset, tmp_path: Path) -> None:
    write_list(digits, tmp_path / "digits.txt")
    lines = (tmp_path / "digits.txt").read_text().splitlines()
    assert lines[:2] == ["0\t0", "1\t1"]
    assert read_list(listed(tmp_path, *lines[5:40]), digits) == list(range(5, 40))
    with pytest.raises(UserError, match=r"as these images have no files, got a\.png"):
        read_list(listed(tmp_path, "a.png"), digits)
    with pytest.raises(UserError, match="have changed since"):
        read_list(listed(tmp_path, "0\t1"), digits)


# --- the command


def test_the_command_prints_and_lists(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    out = tmp_path / "list.txt"
    run("images", "--data-root", str(root), "--data.size", "4", "5", "--list", str(out))
    printed = capsys.readouterr().out
    for words in (
        "54 images of 2 classes, 1x4x5",
        "training images; cat 12, dog 22",
        "as asked for",
        ".txt: 1 (train/",
    ):
        assert words in printed
    assert len(out.read_text().splitlines()) == 54
    with pytest.raises(UserError, match=r"list: expected a new file, .*list\.txt is there already"):
        run("images", "--data-root", str(root), "--list", str(out))
    with pytest.raises(UserError, match=r"list: expected a file that can be written, got .*No such file"):
        run("images", "--data-root", str(root), "--list", str(tmp_path / "none" / "list.txt"))


def test_the_command_shows_other_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    run("images", "--data.name", "digits", "--data.n-classes", "3")
    assert "digits: 537 images of 3 classes, 1x8x8\n  no images are set apart" in capsys.readouterr().out
