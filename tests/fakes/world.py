"""Gateway, console and vLLM as the demo sees them: one small cycle behind three HTTP transports, without a clock."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from csqa_loop.console.answers import PairCounts
from csqa_loop.demo.scenario import Scenario
from tests.console_answers import EXPERIMENT

ADAPTER = "a-" + "1" * 16
KEY = "operator-key"


@dataclass
class World:
    """`base` answers every second question right; the adapter answers with probability 1, 1/2 or 0 as `adapter_is` says."""

    scenario: Scenario
    adapter_is: str = "better"
    gate_passes: bool = True
    pairs_for_a_run: int = 4
    users_for_a_verdict: int = 20
    failures: list[int] = field(default_factory=list)
    """Statuses (0: connection lost) that the next gateway requests meet, before anything is counted."""
    console_outage: int = 0
    """How many status requests are refused, from the moment a run is requested."""

    champion: str = "base"
    revision: int = 1
    run: dict[str, Any] | None = None
    experiment: dict[str, Any] | None = None
    recorded: dict[str, int] = field(default_factory=lambda: {"chats": 0, "feedback": 0, "bad_cases": 0, "dead_letters": 0})
    event_ids: list[str] = field(default_factory=list)
    chats: list[dict[str, Any]] = field(default_factory=list)
    rated: dict[str, str] = field(default_factory=dict)
    corrections: list[tuple[str, str]] = field(default_factory=list)
    chats_in_flight: list[str] = field(default_factory=list)
    """Users who asked while a run trained."""
    _fresh: int = 0
    _experiment_users: int = 0
    _runs: int = 0

    def gateway(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://gateway", transport=httpx.MockTransport(self._gateway))

    def console(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://console", transport=httpx.MockTransport(self._console))

    def vllm(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url="http://vllm", transport=httpx.MockTransport(self._vllm))

    @property
    def busy(self) -> bool:
        training = self.run is not None and self.run["state"] in {"requested", "training"}
        return training or (self.experiment is not None and not self.experiment["settled"])

    def _event(self) -> str:
        self.event_ids.append(str(uuid.UUID(int=len(self.event_ids) + 1)))
        return self.event_ids[-1]

    def _gateway(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/ready":
            return httpx.Response(200, json={"ready": True, "missing": [], "index_version": "0" * 12, "deployment": self.revision})
        if self.failures:
            status = self.failures.pop(0)
            if not status:
                raise httpx.ConnectError("connection refused", request=request)
            return httpx.Response(status, json={"detail": "try later"})
        body = json.loads(request.content)
        if request.url.path == "/v1/chat/completions":
            return self._chat(body)
        if body["message_id"] not in {chat["message_id"] for chat in self.chats}:
            return httpx.Response(404, json={"detail": "no such message"})
        if request.url.path == "/v1/feedback":
            if body["token"] != f"token-{body['message_id']}":
                return httpx.Response(403, json={"detail": "wrong token"})
            self.rated[body["message_id"]] = body["thumb"]
            self.recorded["feedback"] += 1
            self._count_experiment(body["message_id"])
        else:
            if request.headers.get("Authorization") != f"Bearer {KEY}":
                return httpx.Response(401, json={"detail": "key"})
            self.corrections.append((body["message_id"], body["corrected_answer"]))
            self.recorded["bad_cases"] += 1
            self._fresh += 1
            if self._fresh >= self.pairs_for_a_run and not self.busy:
                self._request_run()
        return httpx.Response(202, json={"event_id": self._event()})

    def _chat(self, body: dict[str, Any]) -> httpx.Response:
        text, user = body["messages"][-1]["content"], body["user"]
        if self.run is not None and self.run["state"] in {"requested", "training"}:
            self.chats_in_flight.append(user)
        question = next(question for question in self.scenario.questions if text in question.ask)
        open_experiment = self.experiment if self.experiment and not self.experiment["settled"] else None
        arm, adapter = "champion", self.champion
        if open_experiment:
            arm = "challenger" if len(self.chats) % 2 else "control"
            adapter = ADAPTER if arm == "challenger" else self.champion
        odd = self.scenario.questions.index(question) % 2 == 1
        right = {"better": True, "same": odd, "worse": False}[self.adapter_is] if adapter == ADAPTER else odd
        number = len(self.chats)
        chat = {
            "message_id": f"m-{number}",
            "user": user,
            "question": question,
            "arm": arm,
            "temperature": body.get("temperature"),
            "right": right,
        }
        self.chats.append(chat)
        self.recorded["chats"] += 1
        extra = {
            "message_id": chat["message_id"],
            "conversation_id": f"c-{number}",
            "event_id": self._event(),
            "exposure_event_id": self._event(),
            "experiment": open_experiment and open_experiment["id"],
            "arm": arm,
            "adapter": adapter,
            "feedback_token": f"token-m-{number}",
        }
        answer = " ".join(question.expect) if right else "no idea"
        return httpx.Response(200, json={"choices": [{"message": {"content": answer}}], "csqa": extra})

    def _request_run(self) -> None:
        self._runs += 1
        self.run = {
            "run_id": f"run-{self._runs}", "attempt": 1, "held_out_pairs": 0, "metrics": {}, "state": "requested", "step": 0, "steps": 15, "loss": None, "pairs": self._fresh,
            "champion": self.champion, "adapter": None, "seconds": None, "first_loss": None, "reason": "enough pairs", "gate": None,
        }  # fmt: skip
        self._fresh = 0

    def _count_experiment(self, message_id: str) -> None:
        told = self.experiment
        if told is None or told["settled"]:
            return
        chat = next(chat for chat in self.chats if chat["message_id"] == message_id)
        told["n"][chat["arm"]] += 1
        told["exposed"][chat["arm"]] += 1
        self._experiment_users += 1
        if self._experiment_users >= self.users_for_a_verdict:
            verdict = {"better": "PROMOTE", "same": "INCONCLUSIVE", "worse": "ROLL_BACK"}[self.adapter_is]
            told |= {"verdict": verdict, "stopped_by": "primary", "estimate": 0.4, "lower": 0.1, "upper": 0.7, "settled": True}
            self.revision += 1
            if verdict == "PROMOTE":
                self.champion = ADAPTER

    def _advance(self) -> None:
        """A status request is the world's beat."""
        run = self.run
        if run is None or run["state"] not in {"requested", "training"}:
            return
        if run["state"] == "requested":
            run |= {"state": "training", "step": 5, "loss": 0.9}
            return
        check = {
            "name": "preference accuracy",
            "passed": self.gate_passes,
            "champion": 0.5,
            "candidate": 0.8,
            "margin": 0.1,
            "n": 4,
            "detail": "",
        }
        run |= {"adapter": ADAPTER, "seconds": 12.5, "first_loss": 0.6931, "gate": {"passed": self.gate_passes, "checks": [check]}}
        run["state"] = "passed" if self.gate_passes else "refused"
        if self.gate_passes:
            self._experiment_users = 0
            self.experiment = EXPERIMENT | {
                "id": f"x-{run['run_id']}", "run_id": run["run_id"], "champion": self.champion, "challenger": ADAPTER, "share": 1.0,
                "n": {"challenger": 0, "control": 0}, "exposed": {"challenger": 0, "control": 0},
            }  # fmt: skip

    def _console(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return httpx.Response(401, json={"detail": "key"})
        if self.run is not None and self.console_outage > 0:
            self.console_outage -= 1
            if self.console_outage % 2:
                raise httpx.ConnectError("connection refused", request=request)
            return httpx.Response(503, json={"detail": "starting"})
        self._advance()
        deployment = {
            "occurred_at": "2026-05-04T00:00:00Z",
            "revision": self.revision,
            "champion": self.champion,
            "challenger": None,
            "candidate": None,
            "share": 0.0,
            "experiment": None,
            "cause": "",
        }
        pairs = dict.fromkeys(PairCounts.model_fields, 0) | {"total": len(self.corrections), "fresh": self._fresh}
        costs = {"experiments": 0, "promotions": 0, "expected_false": 0.0, "share_at_most": 0.0, "error_control": "experiment"}
        return httpx.Response(
            200,
            json={
                "caught_up": True, "epoch": 1, "busy": self.busy, "deployment": deployment, "operators": {"paused": None, "order": None},
                "unservable": [], "run": self.run, "experiment": self.experiment, "proposals": None, "pairs": pairs, "recorded": self.recorded,
                "misdated": 0,
                "expected_false_promotions": costs,
            },
        )  # fmt: skip

    def _vllm(self, request: httpx.Request) -> httpx.Response:
        del request
        names = ["base"] + ([ADAPTER] if self.run else [])
        return httpx.Response(200, json={"data": [{"id": name} for name in names]})
