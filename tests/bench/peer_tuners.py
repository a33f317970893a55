"""Other tuners on the functions of tuning/functions.c: the peers of tests/bench/tuner.

Every study is one line of JSON in the file of results; studies that are there already are left out, so a run that was
stopped goes on. A tuner recommends the trial of the lowest value it saw; the regret is that trial's true value, that
is without noise, over the function's minimum. Each has its defaults; BoTorch, a library rather than a tuner, is driven as its
tutorials do: 2(d+1) Sobol points, then LogEI on a SingleTaskGP, over one fixed choice of words after the other.
"""
import argparse
import itertools
import json
import math
import os
import tempfile
import time
import warnings

MASK = (1 << 64) - 1

# ---- the functions: the same formulas as in tuning/functions.c ----


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
    """A validation error as training has it; what each term stands for is said in tuning/functions.c."""
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


# ---- tuners: ask() gives a trial and the function's arguments, tell() ends it ----

# name, kind, least, most or the words
HPO7 = (("lr", "log", 1e-5, 1e-1), ("dropout", "real", 0, 0.6), ("batch", "logint", 8, 256),
        ("optimizer", "word", ("sgd", "adam", "rmsprop")), ("augment", "word", ("none", "flip")),
        ("decay", "log", 1e-7, 1e-2), ("momentum", "real", 0.5, 0.99))


class Optuna:
    def __init__(self, sampler, space):
        import optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.study = space, optuna.create_study(sampler=sampler(optuna.samplers))

    def ask(self):
        trial = self.study.ask()
        if self.space != "hpo7":
            return trial, ([trial.suggest_float(f"x{i}", *ends) for i, ends in enumerate(SPACES[self.space])],)
        values = []
        for name, kind, *range_ in HPO7:
            if kind == "word":
                values.append(trial.suggest_categorical(name, range_[0]))
            elif kind == "logint":
                values.append(trial.suggest_int(name, *range_, log=True))
            elif name != "momentum" or values[3] == "sgd":
                values.append(trial.suggest_float(name, *range_, log=kind == "log"))
            else:
                values.append(0)
        return trial, tuple(values)

    def tell(self, trial, value):
        self.study.tell(trial, value)


class KerasTuner:
    def __init__(self, space, seed, trials):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras_tuner
        self.space, self.folder = space, tempfile.TemporaryDirectory()
        hyper = keras_tuner.HyperParameters()
        if space != "hpo7":
            for i, (low, high) in enumerate(SPACES[space]):
                hyper.Float(f"x{i}", low, high)
        else:
            for name, kind, *range_ in HPO7[:-1]:
                if kind == "word":
                    hyper.Choice(name, list(range_[0]))
                elif kind == "logint":
                    hyper.Int(name, *range_, sampling="log")
                else:
                    hyper.Float(name, *map(float, range_), sampling="log" if kind == "log" else "linear")
            with hyper.conditional_scope("optimizer", ["sgd"]):
                hyper.Float("momentum", 0.5, 0.99)
        self.oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective=keras_tuner.Objective("score", "min"), max_trials=trials, hyperparameters=hyper, seed=seed,
            max_consecutive_failed_trials=trials)
        self.oracle._set_project_dir(self.folder.name, "study")

    def ask(self):
        trial = self.oracle.create_trial("tuner")
        values = trial.hyperparameters.values
        if self.space != "hpo7":
            return trial, ([values[f"x{i}"] for i in range(len(SPACES[self.space]))],)
        return trial, tuple(values.get(name, 0) for name, *_ in HPO7)

    def tell(self, trial, value):
        self.oracle.update_trial(trial.trial_id, {"score": value})
        trial.status = "COMPLETED"
        self.oracle.end_trial(trial)


class BoTorch:
    """Numbers in the unit cube, words one-hot."""

    def __init__(self, space, seed):
        import torch
        torch.manual_seed(seed)
        self.torch, self.space = torch, space
        self.parts = HPO7 if space == "hpo7" else [(f"x{i}", "real", *ends) for i, ends in enumerate(SPACES[space])]
        self.wide = sum(len(part[2]) if part[1] == "word" else 1 for part in self.parts)
        self.sobol = torch.quasirandom.SobolEngine(self.wide, scramble=True, seed=seed)
        self.start = 2 * (self.wide + 1)
        self.asked, self.x, self.y, self.pending = 0, [], [], []

    def fixed(self):
        """Of each choice of words its coordinates."""
        at, choices = 0, []
        for part in self.parts:
            if part[1] == "word":
                here = range(at, at + len(part[2]))
                choices.append([{i: float(i == one) for i in here} for one in here])
            at += len(part[2]) if part[1] == "word" else 1
        return [{k: v for choice in product for k, v in choice.items()} for product in itertools.product(*choices)]

    def suggest(self):
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.transforms import Standardize
        from botorch.optim import optimize_acqf, optimize_acqf_mixed
        from gpytorch.mlls import ExactMarginalLogLikelihood
        torch = self.torch
        x, y = torch.stack(self.x), -torch.tensor(self.y, dtype=torch.double).unsqueeze(-1)
        model = SingleTaskGP(x, y, outcome_transform=Standardize(1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        improvement = qLogExpectedImprovement(model, y.max(), X_pending=torch.stack(self.pending) if self.pending else None)
        bounds = torch.stack([torch.zeros(self.wide), torch.ones(self.wide)]).double()
        options = {"q": 1, "num_restarts": 10, "raw_samples": 512}
        if self.space == "hpo7":
            point, _ = optimize_acqf_mixed(improvement, bounds, fixed_features_list=self.fixed(), **options)
        else:
            point, _ = optimize_acqf(improvement, bounds, **options)
        return point[0]

    def ask(self):
        started = self.asked >= self.start and self.y
        point = self.suggest() if started else self.sobol.draw(1, dtype=self.torch.double)[0]
        self.asked += 1
        values, at = [], 0
        for _, kind, *range_ in self.parts:
            if kind == "word":
                best = int(point[at:at + len(range_[0])].argmax())
                for i in range(len(range_[0])):
                    point[at + i] = float(i == best)
                values.append(range_[0][best])
                at += len(range_[0])
                continue
            low, high = (math.log(end) for end in range_) if kind.startswith("log") else range_
            value = low + float(point[at]) * (high - low)
            value = math.exp(value) if kind.startswith("log") else value
            values.append(min(max(round(value), range_[0]), range_[1]) if kind == "logint" else value)
            at += 1
        self.pending.append(point)
        return point, tuple(values) if self.space == "hpo7" else (values,)

    def tell(self, point, value):
        self.pending = [other for other in self.pending if other is not point]
        self.x.append(point)
        self.y.append(value)


TUNERS = {
    "optuna-gp": lambda space, seed, trials: Optuna(lambda samplers: samplers.GPSampler(seed=seed), space),
    "optuna-tpe": lambda space, seed, trials: Optuna(lambda samplers: samplers.TPESampler(seed=seed), space),
    "random": lambda space, seed, trials: Optuna(lambda samplers: samplers.RandomSampler(seed=seed), space),
    "botorch": lambda space, seed, trials: BoTorch(space, seed),
    "keras-tuner": KerasTuner,
}
PACKAGES = {"botorch": "botorch", "keras-tuner": "keras_tuner"}  # others: optuna


# ---- studies ----


def run(tuner_name, study_name, seed):
    space, formula, minimum, sd, trials, workers = STUDIES[study_name]
    tuner = TUNERS[tuner_name](space, seed, trials)
    running, now, seconds, best, diverged, true_best = [], 0.0, 0.0, (math.inf, math.inf), 0, math.inf
    asked = 0
    while asked < trials or running:
        while asked < trials and len(running) < workers:
            start = time.perf_counter()
            trial, arguments = tuner.ask()
            seconds += time.perf_counter() - start
            end = now + math.exp(0.5 * noise(~seed & MASK, asked))  # a trial's length, as in tuning/main.c
            running.append((end, asked, trial, formula(*arguments)))
            asked += 1
        ended = min(running, key=lambda one: one[:2])
        running = [one for one in running if one is not ended]
        now, number, trial, true = ended
        failed = space == "hpo7" and true == DIVERGED
        diverged += failed
        value = true if failed else true + sd * noise(seed, number)
        tuner.tell(trial, value)
        best = min(best, (value, true))
        true_best = min(true_best, true)
    return {"regret": best[1] - minimum, "regret_any": true_best - minimum, "diverged": diverged,
            "ms": seconds / trials * 1e3}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True, help="file of results, one study a line")
    parser.add_argument("--tuner", default="optuna-gp", choices=TUNERS)
    parser.add_argument("--studies", default=",".join(STUDIES))
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()

    warnings.filterwarnings("ignore")
    if options.tuner in ("optuna-gp", "botorch"):
        import torch
        torch.set_num_threads(1)
    version = __import__(PACKAGES.get(options.tuner, "optuna")).__version__
    done = set()
    if os.path.exists(options.results):
        with open(options.results) as lines:
            done = {(r["tuner"], r["study"], r["seed"]) for r in map(json.loads, lines)}
    for seed in range(options.first, options.first + options.seeds):
        for name in options.studies.split(","):
            if (options.tuner, name, seed) in done:
                continue
            row = {"tuner": options.tuner, "study": name, "seed": seed, "version": version}
            row.update(run(options.tuner, name, seed))
            with open(options.results, "a") as out:
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
