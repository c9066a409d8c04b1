"""Whatever is cut, lost or begun anew, and when: every job ends once, no attempt runs twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cluster.simulation import Cluster

PLACES = st.integers(0, 1000)


class ClusterMachine(RuleBasedStateMachine):
    """Does everything at random."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()

    def teardown(self) -> None:
        try:
            self.cluster.settle()
        finally:
            self.cluster.close()

    @rule(cpus=st.integers(1, 3))
    def join(self, cpus: int) -> None:
        if len(self.cluster.nodes) < 3:
            self.cluster.add_node(cpus)

    @rule(count=st.integers(1, 20))
    def submit(self, count: int) -> None:
        for _ in range(count):
            self.cluster.submit()

    @rule(place=PLACES, up=st.booleans(), most=st.integers(1, 20))
    def carry(self, place: int, most: int, *, up: bool) -> None:
        members = self.cluster.members()
        self.cluster.carry(members[place % len(members)], up=up, most=most)

    @rule()
    def carry_all(self) -> None:
        for member in self.cluster.members():
            self.cluster.carry(member, up=True, most=1000)
            self.cluster.carry(member, up=False, most=1000)

    @rule(place=PLACES)
    def connect(self, place: int) -> None:
        members = self.cluster.members()
        self.cluster.connect(members[place % len(members)])

    @rule(place=PLACES)
    def begin(self, place: int) -> None:
        if self.cluster.nodes:
            self.cluster.begin(self.cluster.nodes[place % len(self.cluster.nodes)])

    @rule(place=PLACES)
    def finish(self, place: int) -> None:
        if self.cluster.nodes:
            self.cluster.finish(self.cluster.nodes[place % len(self.cluster.nodes)])

    @rule(place=PLACES)
    def withdraw(self, place: int) -> None:
        if self.cluster.jobs:
            self.cluster.withdraw(place % len(self.cluster.jobs))

    @rule(place=PLACES)
    def kill(self, place: int) -> None:
        if self.cluster.jobs:
            self.cluster.kill(place % len(self.cluster.jobs))

    @rule(place=PLACES, count=st.integers(1, 5))
    def recall(self, place: int, count: int) -> None:
        for work in self.cluster.head.works.values():
            nodes = list(work.windows)
            if nodes:
                work.ask_back(nodes[place % len(nodes)], count)

    @rule(place=PLACES)
    def cut(self, place: int) -> None:
        members = self.cluster.members()
        self.cluster.cut(members[place % len(members)])

    @rule(place=PLACES)
    def fence(self, place: int) -> None:
        if self.cluster.nodes:
            self.cluster.fence(self.cluster.nodes[place % len(self.cluster.nodes)])

    @rule()
    def restart_head(self) -> None:
        self.cluster.restart_head()


ClusterMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestCluster = ClusterMachine.TestCase
