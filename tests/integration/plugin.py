"""A monitoring plugin of the usual kind, as sites run it against Patroni.

It asks a path of the first endpoint that answers, takes any code but 200 for a no, and reads
fields by their names: one that is missing is UNKNOWN. Nothing here knows of Veche.
"""

import hashlib
import json
import urllib.error
import urllib.request

OK, WARNING, CRITICAL, UNKNOWN = range(4)
REPLICAS = ("replica", "sync_standby", "quorum_standby")


class Refused(Exception):
    """Another code than 200."""


class Plugin:
    def __init__(self, *endpoints):
        self.endpoints = endpoints

    def ask(self, service):
        for endpoint in self.endpoints:
            try:
                with urllib.request.urlopen(f"{endpoint}/{service}", timeout=10) as reply:
                    text = reply.read()
            except urllib.error.HTTPError as error:
                raise Refused(error.code) from error
            except OSError:
                continue  # The next one may be there.
            return json.loads(text) if text else None
        raise Refused("no endpoint answers")

    def run(self, service, **options):
        """The exit code."""
        try:
            return OK if getattr(self, service)(**options) else CRITICAL
        except (KeyError, TypeError, ValueError) as error:
            print(f"UNKNOWN: {service}: {error!r}")
            return UNKNOWN
        except Refused:
            return CRITICAL if service.startswith("node_is_") else UNKNOWN

    # -- Of the cluster

    def members(self):
        return self.ask("cluster")["members"]

    def has_detailed_states(self):
        version = self.ask("patroni")["patroni"]["version"]
        return tuple(int(part) for part in version.split(".")) >= (3, 0, 4)

    def cluster_node_count(self, members, healthy):
        found = [(m["role"], m["state"]) for m in self.members()]
        fine = "streaming" if self.has_detailed_states() else "running"
        n = sum(s == ("running" if r == "leader" else r in REPLICAS and fine) for r, s in found)
        return len(found) >= members and n >= healthy

    def cluster_has_leader(self):
        return any(m["role"] == "leader" and m["state"] == "running" for m in self.members())

    def cluster_has_replica(self, replicas=1, sync=0, max_lag=None):
        members = self.members()
        leaders = [int(m["timeline"]) for m in members if m["role"] in ("leader", "standby_leader")]
        healthy, n_sync = 0, 0
        for m in members:
            if m["role"] not in REPLICAS:
                continue
            lag, timeline = m["lag"], int(m["timeline"])
            if lag == "unknown" or [timeline] != leaders:
                continue
            if m["state"] in ("streaming", "in archive recovery"):
                healthy += max_lag is None or int(lag) <= max_lag
                n_sync += m["role"] != "replica"
        return healthy >= replicas and n_sync >= sync

    def config_hash(self):
        return hashlib.md5(json.dumps(self.ask("config")).encode()).hexdigest()

    def cluster_config_has_changed(self, before):
        return self.config_hash() == before

    def cluster_is_in_maintenance(self):
        return not self.ask("cluster").get("pause")

    def cluster_has_scheduled_action(self):
        cluster = self.ask("cluster")
        return "scheduled_switchover" not in cluster and not any(
            "scheduled_restart" in m for m in cluster["members"]
        )

    # -- Of a node

    def node_is_alive(self):
        self.ask("liveness")
        return True

    def node_is_leader(self, standby=False):
        self.ask("standby-leader" if standby else "leader")
        return True

    def node_is_primary(self):
        self.ask("primary")
        return True

    def node_is_replica(self, max_lag=None, sync=None):
        status = self.ask("replica" if max_lag is None else f"replica?lag={max_lag}")
        return sync is None or sync == ("sync_standby" in status or "quorum_standby" in status)

    def node_is_pending_restart(self):
        return not self.ask("patroni").get("pending_restart", False)

    def node_patroni_version(self, version):
        return self.ask("patroni")["patroni"]["version"] == version

    def node_tl_has_changed(self, timeline):
        return str(self.ask("patroni")["timeline"]) == str(timeline)
