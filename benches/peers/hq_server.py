"""HyperQueue by its Python package: a server and one worker of two cores in this process. One order a line on stdin, one answer a line."""
import json, os, sys, tempfile
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

sys.stderr = open(os.devnull, "w")  # progress bars
said = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def answer(value):
    said.write(json.dumps(value) + "\n")
    said.flush()


def job(directory, commands):
    made = Job(default_workdir=directory, max_fails=len(commands))  # one that fails stops no other
    for n, command in enumerate(commands):
        made.program(command, stdout=f"{directory}/{n}.out", stderr=f"{directory}/{n}.err")
    return made


with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=2))
    client = cluster.client()
    waiting = []
    answer("ready")
    for line in sys.stdin:
        order, *rest = json.loads(line)
        directory = tempfile.mkdtemp(dir=os.environ["HQ_BENCH_DIR"])
        if order == "submit":
            waiting.append(client.submit(job(directory, [rest[0]])))
            answer(0)
        elif order == "wait":
            client.wait_for_jobs(waiting)
            ended, waiting = len(waiting), []
            answer(ended)
        elif order == "array":
            client.wait_for_jobs([client.submit(job(directory, [["true"]] * rest[0]))])
            answer(sum(name.endswith(".out") for name in os.listdir(directory)))
        elif order == "fill":
            client.submit(job(directory, [["sleep", "100000"]] * 2 + [["true"]] * rest[0]))
            answer(rest[0])
        elif order == "proof":
            made = client.submit(job(directory, [["sh", "-c", f"echo {n}; exit {n % 10}"] for n in range(rest[0])]))
            client.wait_for_jobs([made], raise_on_error=False)
            failed = client.get_failed_tasks(made)
            outputs = [open(f"{directory}/{n}.out").read().strip() for n in range(rest[0])]
            codes = {n: task.error for n, task in failed.items()}
            right = all(text == str(n) for n, text in enumerate(outputs))
            right &= all((n in codes) == (n % 10 > 0) for n in range(rest[0]))
            right &= all(str(n % 10) in error for n, error in codes.items())
            answer(right)
