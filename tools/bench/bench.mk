# What the Makefile includes for measuring. CASE, ROUNDS, SECONDS, PEERS, PLACEMENT, FORM reach the programs by themselves.
#
#   make bench CASE=P2 ROUNDS=5 SECONDS=3 PEERS=kernel,smoltcp
#   make bench-peers            the other stacks, those whose toolchain is there
#   make profile CASE=P2        where the time goes, by layer and by function, with a flame graph
#   make counts                 instructions of the hot functions against tools/bench/COUNTS.txt (callgrind)
#   make counts-keep            keep new ones, after a look at the diff

#   make costs                  instructions of an attacker's packet, at rest and at the cap: at most twice as many

.PHONY: bench-peers profile counts counts-keep costs

bench-peers:
	$(RUN) -m tools.bench --build-peers

profile: $(VENV)/.installed
	$(RUN) -m tools.bench.profile

counts: $(VENV)/.installed
	$(RUN) -m tools.bench.counts --check

counts-keep: $(VENV)/.installed
	$(RUN) -m tools.bench.counts --write

costs: $(VENV)/.installed
	$(RUN) -m tools.bench.costs
