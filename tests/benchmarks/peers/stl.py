"""statsmodels' STL and statsforecast's MSTL as peers of `foreshadow bench`; called as
training/bench/peers.h says, with peer=statsmodels or peer=statsforecast."""
import importlib.metadata
import sys
import time


def numbers(text):
    return [int(each) for each in text.split(",")]


def end(line):
    print(line)
    sys.exit()


def main():
    given = dict(argument.split("=", 1) for argument in sys.argv[3:])
    try:
        import numpy
        from statsmodels.tsa.seasonal import STL

        if given["peer"] == "statsforecast":
            from statsforecast.mstl import mstl
    except ModuleNotFoundError as error:
        end(f"missing {error}")

    seasons = [
        dict(zip(("period", "seasonal", "trend", "low_pass"), row[:4]))
        | dict(zip(("seasonal_deg", "trend_deg", "low_pass_deg"), row[4:7]))
        | dict(zip(("seasonal_jump", "trend_jump", "low_pass_jump"), row[7:10]))
        | {"inner": row[10], "outer": row[11], "periodic": row[12]}
        for row in zip(*(numbers(given[key]) for key in (
            "period", "seasonal_window", "trend_window", "low_pass_window",
            "seasonal_degree", "trend_degree", "low_pass_degree",
            "seasonal_jump", "trend_jump", "low_pass_jump", "inner", "outer", "periodic")))
    ]
    loops = [{"inner_iter": season.pop("inner"), "outer_iter": season.pop("outer")}
             for season in seasons]
    periodic = [season.pop("periodic") for season in seasons]
    iterations = int(given["iterations"])

    def by_statsmodels(x):
        fit = STL(x, robust=loops[0]["outer_iter"] > 0, **seasons[0]).fit(**loops[0])
        return [fit.seasonal, fit.trend]

    def by_statsforecast(x):
        fit = mstl(x, periods, iterate=iterations, s_window=windows, stl_kwargs=shared)
        return [*(fit[f"seasonal{period}"].to_numpy() for period in periods),
                fit["trend"].to_numpy()]

    if given["peer"] == "statsmodels":
        decompose = by_statsmodels
        if len(seasons) > 1:
            end("unfit STL has one season")
    else:
        decompose = by_statsforecast
        if len(seasons) < 2:
            end("unfit its MSTL is given several seasons")
        if any(loop != {"inner_iter": 5, "outer_iter": 0} for loop in loops):
            end("unfit its MSTL always makes 5 inner loops and no outer one")
        periods = [season["period"] for season in seasons]
        windows = [season["seasonal"] for season in seasons]
        # What it passes on to every season alike; the rest is left to its defaults, which are R's.
        shared = {key: seasons[0][key] for key in (
            "seasonal_deg", "trend_deg", "low_pass_deg",
            "seasonal_jump", "trend_jump", "low_pass_jump")}
        if any(season[key] != value for season in seasons for key, value in shared.items()):
            end("unfit its MSTL takes one degree and one jump for all seasons")

    steps = int(given["steps"])
    series = numpy.fromfile(sys.argv[1], dtype=numpy.float32).astype(float).reshape(-1, steps)
    print("version", given["peer"], importlib.metadata.version(given["peer"]))
    seconds = float(given["seconds"])
    for index in range(int(given["passes"])):
        parts = []
        start = time.process_time()
        for x in series:
            parts.append(decompose(x))
            if time.process_time() - start >= seconds:
                break
        print("pass", len(parts), time.process_time() - start)
        if index == 0:
            first = parts
    with open(sys.argv[2], "wb") as file:
        for part in first:
            for season, values in enumerate(part):
                if season < len(seasons) and periodic[season]:
                    phase = numpy.arange(steps) % seasons[season]["period"]
                    values = (numpy.bincount(phase, values) / numpy.bincount(phase))[phase]
                file.write(numpy.asarray(values, dtype=numpy.float32).tobytes())


main()
