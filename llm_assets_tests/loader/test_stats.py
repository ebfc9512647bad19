from llm_assets.loader.stats import StatsCounter


def test_waits_add_up_and_the_time_runs_from_the_first_request_to_the_last_batch() -> None:
    counter = StatsCounter()
    assert (counter.stats().elapsed, counter.stats().tokens_per_second, counter.stats().waiting) == (0, 0, 0)
    counter.add(2, 20, asked=10.0, given=10.5)
    counter.add(4, 40, asked=12.0, given=12.25)
    stats = counter.stats()
    assert (stats.batches, stats.rows, stats.tokens, stats.waited, stats.elapsed) == (2, 6, 60, 0.75, 2.25)
    assert (stats.tokens_per_second, stats.waiting) == (60 / 2.25, 0.75 / 2.25)
    assert str(stats) == "6 rows (60 tokens) in 2 batches, 27 tokens/s, waited 0.750 s of 2.250 (33.3%)"
