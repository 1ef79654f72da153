"""Starts a manager, makes an owner and a token, and has schemathesis ask it everything."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import warnings

import requests

PASSWORD = "correct horse battery"
# What makes an answer a wrong one. Who may ask what is another test's matter: here all is asked with a good token.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(program, root):
    """A cluster of one, and its set-up secret."""
    https, underlay = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    where = ["--underlay", f"127.0.0.1:{underlay}", "--https", f"127.0.0.1:{https}"]
    command = [program, "init", "--name", "m1", "--prefix", "172.31.0.0/16", *where, "--data-dir", root]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    log = open(f"{root}.log", "w", encoding="utf-8")
    manager = subprocess.Popen([program, "serve", "--data-dir", root], stderr=log, stdout=log)
    return manager, f"https://127.0.0.1:{https}/api/v1", re.search(r"festoon-setup-\S+", shown).group()


def get(url, bearer=None):
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return session.get(url, headers=headers, verify=False, timeout=10)


def wait_until_ready(base):
    deadline = time.monotonic() + 20
    while True:
        try:
            if get(f"{base}/readyz").ok:
                return
        except requests.ConnectionError:
            pass
        if time.monotonic() > deadline:
            sys.exit("the manager does not start")
        time.sleep(0.05)


def must(response):
    if not response.ok:
        sys.exit(f"{response.request.method} {response.url}: {response.status_code} {response.text}")
    return response


def token(base, secret):
    """The secret of an owner's API token."""
    session = requests.Session()
    session.verify = False
    session.trust_env = False
    must(session.post(f"{base}/setup", json={"secret": secret, "name": "root", "password": PASSWORD}))
    whoami = must(session.post(f"{base}/session", json={"name": "root", "password": PASSWORD})).json()
    session.headers["X-Festoon-Csrf"] = whoami["csrf_token"]
    wanted = {"name": "fuzz", "role": "owner", "sensitive": True}
    return must(session.post(f"{base}/api-tokens", json=wanted)).json()["secret"]


def ask_everything(schemathesis, base, bearer, examples, report):
    command = [
        str(pathlib.Path(schemathesis).resolve()), "run", f"{base}/openapi.json",
        "--url", base.removesuffix("/api/v1"),
        "--header", f"Authorization: Bearer {bearer}",
        "--tls-verify", "false",
        "--checks", ",".join(CHECKS),
        "--max-examples", examples,
        "--seed", "1",
        "--continue-on-failure",
        "--request-timeout", "30",
        "--no-color",
        "--report", "ndjson",
        "--report-ndjson-path", report,
    ]
    # What the environment says of certificates and proxies is for others.
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "PATH")}
    env = {**kept, "PYTHONWARNINGS": "ignore"}
    # It leaves what it found in the directory that it runs in.
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=pathlib.Path(report).parent)


def main():
    warnings.simplefilter("ignore")
    program, schemathesis, examples = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        root = str(pathlib.Path(directory) / "data")
        manager, base, secret = start(program, root)
        try:
            wait_until_ready(base)
            bearer = token(base, secret)
            report = str(pathlib.Path(directory) / "report.ndjson")
            ended = ask_everything(schemathesis, base, bearer, examples, report)
            still_good = get(f"{base}/session", bearer)
            lives = manager.poll() is None
        finally:
            manager.kill()
            manager.wait()
        print(ended.stdout[-int(os.environ.get("SHOW", "6000")):])
        figures = count(report)
        summary = ended.stdout.strip().splitlines()[-1]
        failures, errors = number_of("failure", summary), number_of("error", summary)
        # A connection that is kept may be closed at the moment in which a request is sent over it.
        broken = number_of_network_errors(ended.stdout)
        figures.update(failures=failures, broken_connections=broken, manager_lives=lives, token_still_good=still_good.ok)
        print(json.dumps(figures))
        is_good = failures == 0 and errors == broken and broken * 500 <= figures["answers"]
        if not (is_good and figures["answers"] > 0 and figures["server_errors"] == 0 and lives and still_good.ok):
            sys.exit(1)


def number_of(what, summary):
    found = re.search(rf"(\d+) {what}", summary)
    return int(found.group(1)) if found else 0


def number_of_network_errors(output):
    found = re.search(r"Network Error: (\d+)", output)
    return int(found.group(1)) if found else 0


def count(report):
    """Requests that were sent, and answers of each status."""
    statuses = {}
    for line in open(report, encoding="utf-8"):
        for status in re.findall(r'"status_code":\s*(\d{3})', line):
            statuses[status] = statuses.get(status, 0) + 1
    server_errors = sum(number for status, number in statuses.items() if status.startswith("5"))
    return {"answers": sum(statuses.values()), "server_errors": server_errors, "statuses": dict(sorted(statuses.items()))}


if __name__ == "__main__":
    main()
