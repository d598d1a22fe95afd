"""Where prices come from. Every source has `async read(*, now) -> cleaning.Reading` and raises nothing."""
