"""What builders find in the folders of a release: odd names, twins, a damaged pin."""

import pytest

from ramjax.io.errors import ReleaseError
from tfds_builders import release


def test_files_that_share_a_stem_stop(tmp_path):
    for name in ("a.bmp", "b.BMP"):
        (tmp_path / name).touch()
    assert [path.name for path in release.list_files(tmp_path, ".bmp").values()] == ["a.bmp", "b.BMP"]
    (tmp_path / "a.BMP").touch()
    with pytest.raises(ReleaseError, match=r"a\.BMP and a\.bmp are both there"):
        release.list_files(tmp_path, ".bmp")


def test_a_name_that_is_no_text_is_named_and_printable(tmp_path):
    (tmp_path / "a\udce9.bmp").touch()
    with pytest.raises(ReleaseError, match="is no UTF-8 text; rename it") as error:
        release.list_files(tmp_path, ".bmp")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"main", b"\xff\xfe\0", b"../../x", b"c0ffee" * 9])
def test_a_damaged_pin_of_a_download_is_named(tmp_path, content):
    (tmp_path / release.REVISION_FILE).write_bytes(content)
    with pytest.raises(ReleaseError, match=r"revision\.txt holds no revision .*; delete it"):
        release.revision_of(tmp_path)


def test_a_sound_pin_is_told(tmp_path):
    (tmp_path / release.REVISION_FILE).write_text("c0ffee" + 34 * "0" + "\n")
    assert release.revision_of(tmp_path) == {"revision": "c0ffee" + 34 * "0"}
