"""Points by the rubric, and a report as autograders take it."""

import csv
from pathlib import Path

RUBRIC = Path(__file__).with_name("rubric.csv")  # the page for instructors shows it


def points_by_item():
    """{item: points that the command gives for it}, from the rubric's third column."""
    with RUBRIC.open(encoding="utf-8", newline="") as file:
        cells = [row["By the command"] for row in csv.DictReader(file)]
    pairs = (
        given.rsplit(": ", 1) for cell in cells if cell for given in cell.split(", ")
    )
    return {item: float(points) for item, points in pairs}


POINTS = points_by_item()


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


def classroom(report):
    """A report as GitHub Classroom's reporter takes it: a test for each point to get.

    It shows names alone, so what is off stands in them.
    """
    tests = [
        {
            "name": f"Exercise {check['exercise']}, {check['item']}: {check['says']}",
            "status": "pass" if check["done"] else "fail",
            "score": check["points"] if check["done"] else 0.0,
            "message": None,
            "line_no": 0,
        }
        for check in report["checks"]
        if check["points"]
    ]
    well = all(test["status"] == "pass" for test in tests)
    return {
        "version": 1,
        "status": "pass" if well else "fail",
        "max_score": report["max_points"],
        "tests": tests,
    }


def summary(report):
    points = f"{report['points']:g} of {report['max_points']:g} points"
    return f"{points} by the command; the others are a person's to give."
