"""The benchmark of training: its table, from contestants that take no time."""

from benchmarks import training_speed


class Answers:
    """The near end of a pipe to a contestant that has answered already."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def recv(self):
        return next(self.answers)

    def send(self, _):
        pass


def employ(name, preset, device, steps):
    if name == "parts":
        return Answers([[0.1, 0.2, 0.3, 0.3, 0.1]] * steps)
    seconds = 2.0 if name == "Trainer" else 1.0  # a turn
    return Answers("ready", seconds, seconds)


def test_the_table_has_all_contestants_and_parts(monkeypatch, capsys):
    monkeypatch.setattr(training_speed, "employ", employ)
    monkeypatch.setattr(training_speed, "draw_textiles", lambda: None)
    training_speed.main(
        ["--device", "cpu", "--turns", "2", "--steps", "4", "--batch-size", "3"]
    )
    out = capsys.readouterr().out
    assert "3 pictures a step" in out
    rows = {line[:20].strip(): line[20:].split() for line in out.splitlines() if line}
    assert rows["Trainer"] == ["2.00", "1.00"] and rows["ours"] == ["4.00", "2.00"]
    assert rows["forward"] == ["200.00", "20.0%"]
