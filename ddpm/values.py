"""Values: which are allowed, and in words why another is not."""


def not_allowed(value, allowed):
    """Why a value may not be, in words that follow it; None if it may.

    allowed: (1, 1000), whole numbers from and to; (8, 64, 8), the multiples of 8 among
    them; (0.0, 1.0), any numbers from and to; a list of all values; str, any text.
    """
    if allowed is str:
        return None if isinstance(value, str) else "no text, as 'kuba' is"
    if isinstance(allowed, list):
        if any(type(value) is type(one) and value == one for one in allowed):
            return None
        return f"none of {', '.join(map(str, allowed))}"
    low, high, *step = allowed
    kinds, name, form = (int,), "whole number", "d"
    if type(low) is float:
        kinds, name, form = (int, float), "number", "g"
    if step:
        name = f"multiple of {step[0]}"
    inside = type(value) in kinds and low <= value <= high
    if inside and not (step and value % step[0]):
        return None
    return f"not a {name} from {low:{form}} to {high:{form}}"


def list_not_allowed(items, allowed):
    """The same for a list or tuple of what is allowed, in words that follow a name."""
    if not isinstance(items, (list, tuple)):
        return f": {items!r} is not a list: [{items!r}] would be one"
    if not items:
        return " is empty: give it at least one value"
    for item in items:
        if reason := not_allowed(item, allowed):
            return f": {item!r} is {reason}"
    return None
