"""Sources of utterances: the table of clips, and the IEMOCAP release."""

from __future__ import annotations

import pytest

from nmer.errors import DataError
from nmer.extraction.registry import sources
from nmer.extraction.step_settings import SourceSettings, list_utterances

read_release = sources.load("iemocap_release")
read_table = sources.load("table")


def by_id(listing):
    return {utterance.id: utterance for utterance in listing.utterances}


def write_table(folder, text, encoding="utf-8"):
    (folder / "utterances.csv").write_text(text, encoding=encoding)
    return folder


def test_the_release_gives_classes_speakers_spans_files_and_words(release):
    found = by_id(read_release(release))
    assert sorted(found) == [
        "Ses01F_impro01_F000",
        "Ses01F_impro01_M000",
        "Ses02M_script01_1b_F000",
        "Ses02M_script01_1b_M000",
    ]
    first = found["Ses01F_impro01_F000"]
    assert (first.label, first.speaker, first.start, first.end) == ("neutral", "1F", 6.2901, 8.2357)
    assert first.audio == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert first.video == "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    assert first.audio_is_cut
    assert first.text == "Excuse me: [LAUGHTER] you said [x]: that?"
    assert found["Ses01F_impro01_M000"].label == "happy"  # excited
    assert found["Ses01F_impro01_M000"].text == ""


def test_six_classes_include_excited_and_frustrated(release):
    found = by_id(read_release(release, classes="six"))
    assert found["Ses01F_impro01_M000"].label == "excited"
    assert found["Ses01F_impro01_F002"].label == "frustrated"


def test_lines_without_a_label_or_number_are_counted(release):
    skipped = read_release(release).skipped
    assert skipped["in transcripts without a number (XX)"] == 2
    assert skipped["lines of transcripts without an id"] == 2
    assert skipped["in transcripts without a label"] == 2
    assert skipped["without a majority label"] == 2
    assert skipped["of other classes"] == 2


def test_counts_that_differ_from_the_published_ones_give_warnings(release):
    warnings = " ".join(read_release(release).warnings)
    assert "missing: Session3, Session4, Session5" in warnings
    assert "8 labelled utterances; the release has 10039." in warnings
    assert "2 dialogues; the release has 151." in warnings
    assert "neu 2 (published 1708)" in warnings


@pytest.mark.parametrize(
    ("rule", "sides"),
    [
        # Speakers F and M of Ses01F, where the woman wears the markers, then of Ses02M, where the man does.
        ("marker_left", ["left", "right", "right", "left"]),
        ("marker_right", ["right", "left", "left", "right"]),
        ("female_left", ["left", "right", "left", "right"]),
    ],
)
def test_the_side_of_the_speaker_follows_the_rule(release, rule, sides):
    assert [utterance.side for utterance in read_release(release, side=rule).utterances] == sides


def test_events_can_be_dropped_from_words(release):
    found = by_id(read_release(release, events="drop"))
    assert found["Ses01F_impro01_F000"].text == "Excuse me: you said [x]: that?"


def test_a_path_above_or_below_the_release_ends_in_a_message_with_the_right_path(release):
    with pytest.raises(DataError, match=r"has no folders Session1 to Session5 .*They are in .*IEMOCAP_full_release"):
        read_release(release.parent)
    with pytest.raises(DataError, match=r"They are in .*IEMOCAP_full_release"):
        read_release(release / "Session1")
    with pytest.raises(DataError, match="Correct the path"):
        read_release(release / "Session1/dialog/EmoEvaluation/Categorical/none")


def test_irregular_labels_and_transcripts_are_read_or_reported(release):
    path = release / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.write_text(
        path.read_text().replace("\t", "  ")
        + "[1.0 - 2.0]\tSes01F_impro01_F000\tang\t[1, 1, 1]\n[1.0 - 2.0]\tSes01F_impro01_F008\tzzz\t[1, 1, 1]\n"
    )
    words = release / "Session1/dialog/transcriptions/Ses01F_impro01.txt"
    words.write_bytes("Ses01F_impro01_F000 [1-2]: Caf\xe9.\n".encode("latin-1"))
    listing = read_release(release)
    assert by_id(listing)["Ses01F_impro01_F000"].label == "neutral"
    assert by_id(listing)["Ses01F_impro01_F000"].text == "Caf\xe9."
    assert any("'Ses01F_impro01_F000' has two labels" in warning for warning in listing.warnings)
    assert any("unknown label 'zzz'" in warning for warning in listing.warnings)


def test_a_table_corrects_the_release(release):
    (release / "mine.csv").write_text("id,label,start,chunk\nSes01F_impro01_F000,sad,6.5,3\n")
    (only,) = read_release(release, table="mine.csv").utterances
    assert (only.label, only.start, only.end, only.side) == ("sad", 6.5, 8.2357, "left")
    (release / "mine.csv").write_text("id\nSes01F_impro01_F777\n")
    with pytest.raises(DataError, match="no utterance 'Ses01F_impro01_F777'"):
        read_release(release, table="mine.csv")


def test_a_table_can_have_a_bom_semicolons_and_quoted_line_breaks(tmp_path):
    text = '\ufeffid;label;video;start;text\nu1;glad;a/one.mp4;1.5;"two\nlines"\nu2;sad;;;"x"\n'
    one, two = read_table(write_table(tmp_path, text)).utterances
    assert (one.id, one.audio, one.video, one.start, one.end, one.text) == (
        "u1", "a/one.mp4", "a/one.mp4", 1.5, None, "two\nlines",
    )  # fmt: skip
    assert (two.audio, two.start) == ("", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\nu1,a\nu1,b\n", "id 'u1' occurs more than once"),
        ("id,label\nu/1,a\n", "'u/1' cannot be the name of a file"),
        ("id,label,id\nu1,a,b\n", "two columns have the name 'id'"),
        ("id,label\n", "lists no utterance"),
        ("id,audio\nu1,x.wav\n", "no column 'label'"),
        ("id,label,start\nu1,a,soon\n", "start 'soon' is not a number of seconds"),
        ("id,label,side\nu1,a,top\n", "side 'top' is not possible"),
        ("id,label,audio\nu1,a,../x.wav\n", r"'../x.wav' leads out of"),
        ("id,label,audio\nu1,a,/etc/passwd\n", "'/etc/passwd' leads out of"),
        ("id,label,video\nu1,a,link.mp4\n", "'link.mp4' leads out of"),
    ],
)
def test_an_invalid_table_ends_in_one_message(tmp_path, text, message):
    (tmp_path / "link.mp4").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=message) as refused:
        read_table(write_table(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_table(write_table(tmp_path, "id,label\nu\xe9,a\n", "latin-1"))


def test_a_custom_source_is_one_file(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from nmer.extraction.registry import Listing, Utterance, source\n"
        '@source("mine")\n'
        'def read(root, *, label="x"):\n'
        '    return Listing([Utterance("u1", label)])\n'
    )
    settings = SourceSettings("d", "mine", file=str(own), options={"label": "y"})
    assert list_utterances(settings, tmp_path).utterances[0].label == "y"
