"""The cloud functions, one thin file each: parse, call one use case, render."""
