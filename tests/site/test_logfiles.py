from __future__ import annotations

from coop_site.logfiles import last_lines, trim


def test_a_log_that_grew_too_large_is_kept_once_and_emptied_under_its_writer(tmp_path):
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2000)
        trim(tmp_path, largest=1000)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "web.log.1").stat().st_size == 2000


def test_a_small_log_is_left_alone(tmp_path):
    (tmp_path / "web.log").write_text("small")
    trim(tmp_path, largest=1000)
    assert [path.name for path in tmp_path.iterdir()] == ["web.log"]


def test_the_end_of_a_log_is_its_last_lines(tmp_path):
    log = tmp_path / "web.log"
    log.write_text("\n".join(str(number) for number in range(100)))
    assert last_lines(log, 2) == "98\n99"
    assert last_lines(tmp_path / "none.log") == ""
