"""Optuna on the functions of tuner.c: the peer of tests/bench/tuner.

Every study is one line of JSON in the file of results; studies that are there already are left out, so a run that was
stopped goes on. A sampler recommends the trial of the lowest value it saw; the regret is that trial's true value, that
is without noise, over the function's minimum.
"""
import argparse
import json
import math
import os
import time
import warnings

MASK = (1 << 64) - 1

# ---- the functions: the same formulas as in tuner.c ----


def branin(x):
    a, b, c = x[0], x[1], 5.1 / (4 * math.pi**2)
    return (b - c * a * a + 5 / math.pi * a - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


ALPHA = (1.0, 1.2, 3.0, 3.2)
A3 = ((3, 10, 30), (0.1, 10, 35), (3, 10, 30), (0.1, 10, 35))
P3 = ((3689, 1170, 2673), (4699, 4387, 7470), (1091, 8732, 5547), (381, 5743, 8828))
A6 = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
P6 = ((1312, 1696, 5569, 124, 8283, 5886), (2329, 4135, 8307, 3736, 1004, 9991),
      (2348, 1451, 3522, 2883, 3047, 6650), (4047, 8828, 8732, 5743, 1091, 381))


def hartmann(x, a, p):
    return -sum(w * math.exp(-sum(f * (v - q * 1e-4) ** 2 for f, v, q in zip(g, x, r))) for w, g, r in zip(ALPHA, a, p))


def ackley(x):
    n = len(x)
    return (20 + math.e - 20 * math.exp(-0.2 * math.sqrt(sum(v * v for v in x) / n))
            - math.exp(sum(math.cos(2 * math.pi * v) for v in x) / n))


def rosenbrock(x):
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))


def levy(x):
    w = [1 + (v - 1) / 4 for v in x]
    return (math.sin(math.pi * w[0]) ** 2
            + sum((v - 1) ** 2 * (1 + 10 * math.sin(math.pi * v + 1) ** 2) for v in w[:-1])
            + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2))


DIVERGED = 0.9


def hpo7(lr, dropout, batch, optimizer, augment, decay, momentum):
    """A validation error as training has it; what each term stands for is said in tuner.c."""
    size = math.log2(batch) - 5
    centre = {"sgd": -0.5, "adam": -3.0, "rmsprop": -3.3}[optimizer] + 0.15 * size
    error = {"sgd": 0.052, "adam": 0.050, "rmsprop": 0.057}[optimizer]
    if optimizer == "sgd":
        centre += math.log10(1 - momentum)
        error += 0.05 * (momentum - 0.9) ** 2
    z = math.log10(lr) - centre
    if z > 1.2:
        return DIVERGED
    error += 0.45 * (1 - math.exp(-(0.02 if z < 0 else 0.04) * z * z / 0.45))
    error += 0 if augment == "flip" else 0.006
    error += 0.08 * (dropout - (0.2 if augment == "flip" else 0.35)) ** 2
    v = math.log10(decay) + 4.5 + 2 * (dropout - 0.2)
    error += 0.0025 * v * v + 0.0015 * size * size
    return error


SPACES = {
    "branin": [(-5, 10), (0, 15)],
    "hartmann3": [(0, 1)] * 3,
    "hartmann6": [(0, 1)] * 6,
    "ackley5": [(-5, 10)] * 5,
    "rosenbrock4": [(-5, 10)] * 4,
    "levy10": [(-10, 10)] * 10,
}
# name: space, formula, minimum, standard deviation of the noise, trials, workers
STUDIES = {
    "branin": ("branin", branin, 0.39788735772973816, 0, 50, 1),
    "hartmann3": ("hartmann3", lambda x: hartmann(x, A3, P3), -3.8627797869493365, 0, 50, 1),
    "hartmann6": ("hartmann6", lambda x: hartmann(x, A6, P6), -3.322368011415515, 0, 100, 1),
    "ackley5": ("ackley5", ackley, 0, 0, 100, 1),
    "rosenbrock4": ("rosenbrock4", rosenbrock, 0, 0, 100, 1),
    "levy10": ("levy10", levy, 0, 0, 150, 1),
    "branin-noisy": ("branin", branin, 0.39788735772973816, 5, 50, 1),
    "hartmann6-noisy": ("hartmann6", lambda x: hartmann(x, A6, P6), -3.322368011415515, 0.2, 100, 1),
    "hpo7": ("hpo7", hpo7, 0.050, 0.003, 60, 1),
    "hpo7-8": ("hpo7", hpo7, 0.050, 0.003, 60, 8),
    "ackley5-8": ("ackley5", ackley, 0, 0, 100, 8),
    "branin-noisy-8": ("branin", branin, 0.39788735772973816, 5, 50, 8),
    "hartmann6-noisy-8": ("hartmann6", lambda x: hartmann(x, A6, P6), -3.322368011415515, 0.2, 100, 8),
}


def mix(x):
    """SplitMix64."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def noise(seed, trial):
    first = (seed * 1000003 + 2 * trial) & MASK
    a, b = mix(first), mix(first + 1)
    return math.sqrt(-2 * math.log(((a >> 11) + 0.5) * 2.0**-53)) * math.cos(2 * math.pi * (b >> 11) * 2.0**-53)


# ---- studies ----


def suggest(trial, space):
    if space != "hpo7":
        return ([trial.suggest_float(f"x{i}", lo, hi) for i, (lo, hi) in enumerate(SPACES[space])],)
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    dropout = trial.suggest_float("dropout", 0, 0.6)
    batch = trial.suggest_int("batch", 8, 256, log=True)
    optimizer = trial.suggest_categorical("optimizer", ["sgd", "adam", "rmsprop"])
    augment = trial.suggest_categorical("augment", ["none", "flip"])
    decay = trial.suggest_float("decay", 1e-7, 1e-2, log=True)
    momentum = trial.suggest_float("momentum", 0.5, 0.99) if optimizer == "sgd" else 0
    return lr, dropout, batch, optimizer, augment, decay, momentum


def run(optuna, sampler, study_name, seed):
    space, formula, minimum, sd, trials, workers = STUDIES[study_name]
    study = optuna.create_study(sampler=sampler(optuna, seed))
    running, now, seconds, best, diverged, true_best = [], 0.0, 0.0, (math.inf, math.inf), 0, math.inf
    asked = 0
    while asked < trials or running:
        while asked < trials and len(running) < workers:
            start = time.perf_counter()
            trial = study.ask()
            arguments = suggest(trial, space)
            seconds += time.perf_counter() - start
            end = now + math.exp(0.5 * noise(~seed & MASK, asked))  # a trial's length, as in tuning/main.c
            running.append((end, asked, trial, formula(*arguments)))
            asked += 1
        now, number, trial, true = running.pop(running.index(min(running)))
        failed = space == "hpo7" and true == DIVERGED
        diverged += failed
        value = true if failed else true + sd * noise(seed, number)
        study.tell(trial, value)
        best = min(best, (value, true))
        true_best = min(true_best, true)
    return {"regret": best[1] - minimum, "regret_any": true_best - minimum, "diverged": diverged,
            "ms": seconds / trials * 1e3}


SAMPLERS = {
    "optuna-gp": lambda o, seed: o.samplers.GPSampler(seed=seed),
    "optuna-tpe": lambda o, seed: o.samplers.TPESampler(seed=seed),
    "random": lambda o, seed: o.samplers.RandomSampler(seed=seed),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True, help="file of results, one study a line")
    parser.add_argument("--sampler", default="optuna-gp", choices=SAMPLERS)
    parser.add_argument("--studies", default=",".join(STUDIES))
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()

    warnings.filterwarnings("ignore")
    import optuna
    if options.sampler == "optuna-gp":
        import torch
        torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    done = set()
    if os.path.exists(options.results):
        with open(options.results) as lines:
            done = {(r["tuner"], r["study"], r["seed"]) for r in map(json.loads, lines)}
    for seed in range(options.first, options.first + options.seeds):
        for name in options.studies.split(","):
            if (options.sampler, name, seed) in done:
                continue
            row = {"tuner": options.sampler, "study": name, "seed": seed, "version": optuna.__version__}
            row.update(run(optuna, SAMPLERS[options.sampler], name, seed))
            with open(options.results, "a") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
