"""Points by the rubric, and a report as autograders take it."""

import csv
from pathlib import Path

RUBRIC = Path(__file__).with_name("rubric.csv")  # the page for instructors shows it


def rubric():
    """[(row, points of it that the command gives)]; a row: {heading: cell}."""
    with RUBRIC.open(encoding="utf-8", newline="") as file:
        return [(row, sum(by_item(row).values())) for row in csv.DictReader(file)]


def by_item(row):
    """{item: points that the command gives for it} of a row, from its third column."""
    given = row["By the command"].split(", ") if row["By the command"] else []
    pairs = (one.rsplit(": ", 1) for one in given)
    return {item: float(points) for item, points in pairs}


POINTS = {item: points for row, _ in rubric() for item, points in by_item(row).items()}


def points_of(checks):
    """(points, of how many) of some of a report's checks."""
    done = sum(check["points"] for check in checks if check["done"])
    return done, sum(check["points"] for check in checks)


def gradescope(report):
    """A report as Gradescope's results.json: a test for each check."""
    tests = [
        {
            "name": f"Exercise {check['exercise']}: {check['item']}",
            "score": check["points"] if check["done"] else 0.0,
            "max_score": check["points"],
            "status": "passed" if check["done"] else "failed",
            "output": check["says"],
        }
        for check in report["checks"]
    ]
    return {"output": summary(report), "tests": tests}


def summary(report):
    points = f"{report['points']:g} of {report['max_points']:g} points"
    return f"{points} by the command; the others are a person's to give."
