"""A network of ill will between the agents: a TCP proxy in front of each one's raft port.

The address every node is configured with is the proxy's; the agent itself listens
elsewhere (raft.bind_addr). The proxy knows who dials whom (the dialling process is
looked up by its port), so harm can be confined to the streams of one node.

What it does to a stream is drawn from a seed, chunk by chunk:

    flip       some bits of a chunk are changed
    truncate   a part of a chunk is passed on, then the connection is closed
    delay      a chunk waits
    duplicate  a chunk comes twice
    reorder    a chunk comes after the next one
    stall      nothing passes any more on that connection, which stays open
"""

import asyncio
import contextlib
import os
import random
import socket
import struct
import threading

from veche import free_port

FAULTS = ("flip", "truncate", "delay", "duplicate", "reorder", "stall")
CHUNK = 16384
STALL_SECONDS = 3600


NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1  # sock_diag(7)
ANY = 0xFFFFFFFF


def inode_of(near, far):
    """The inode of the one TCP socket that is bound to near and connected to far.

    Asked of the kernel for that socket alone: /proc/net/tcp is read whole, with the tens of
    thousands of sockets in TIME_WAIT that other tests leave, while all connections wait here.
    """
    ports = struct.pack("!HH", near[1], far[1])
    hosts = b"".join(struct.pack("!4s12x", socket.inet_aton(host)) for host in (near[0], far[0]))
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, ANY) + ports + hosts
    body += struct.pack("=III", 0, ANY, ANY)  # Any interface, any cookie.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) +
               body)
        reply = s.recv(4096)
    kind = struct.unpack_from("=IH", reply)[1]
    return struct.unpack_from("=I", reply, 16 + 4 + 48 + 16)[0] if kind == SOCK_DIAG_BY_FAMILY else 0


def has_socket(pid, inode):
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                    return True
    return False


class Harm:
    """What happens to chunks of one direction of one connection."""

    def __init__(self, proxy, seed, ends):
        self.proxy, self.ends = proxy, ends
        self.rng = random.Random(seed)
        self.held = None  # A chunk that lets the next one pass.

    def draw(self):
        """The fault for the next chunk, or None."""
        if not self.proxy.is_harmed(self.ends) or self.rng.random() >= self.proxy.rate:
            return None
        return self.rng.choice(self.proxy.faults)

    def flip(self, chunk):
        data = bytearray(chunk)
        for _ in range(self.rng.randint(1, 4)):
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        return bytes(data)


class Proxy:
    """One listener a node, on a loop in a thread of its own.

    with Proxy(cluster, seed) as p: p.harm(faults, rate, nodes); ...; p.heal()
    """

    def __init__(self, cluster, seed):
        self.cluster, self.seed = cluster, seed
        self.faults, self.rate, self.victims = (), 0.0, ()
        self.count = dict.fromkeys(FAULTS, 0)
        self.n_connections = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.servers, self.writers = [], set()
        for node in cluster.nodes.values():
            node.overrides["raft.bind_addr"] = f"{node.host}:{free_port()}"

    def __enter__(self):
        self.thread.start()
        for node in self.cluster.nodes.values():
            self.call(self.listen(node))
        return self

    def __exit__(self, *_):
        self.call(self.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def close(self):
        for server in self.servers:
            server.close()
        for writer in list(self.writers):
            writer.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what it does

    def harm(self, faults, rate, victims):
        """From now on, to the streams from and to these nodes, in both directions."""
        self.faults, self.rate = tuple(faults), rate
        self.victims = tuple(n.name for n in victims)

    def heal(self):
        """Does no more harm. What stalls stays stalled: that is for the agents to find."""
        self.rate = 0.0

    def is_harmed(self, ends):
        return self.rate > 0 and any(e in self.victims for e in ends)

    # -- connections

    async def listen(self, node):
        port = int(node.overrides["raft.bind_addr"].rpartition(":")[2])

        async def accepted(reader, writer):
            await self.serve(node, port, reader, writer)

        self.servers.append(await asyncio.start_server(accepted, node.host, node.raft_port,
                                                       limit=4 * CHUNK))

    def dialler(self, writer):
        inode = inode_of(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
        for node in self.cluster.nodes.values():
            if inode and node.running and has_socket(node.process.pid, inode):
                return node.name
        return "unknown"

    async def serve(self, node, port, reader, writer):
        self.n_connections += 1
        seed = f"{self.seed}/{self.n_connections}"
        ends = (self.dialler(writer), node.name)
        try:
            back_reader, back_writer = await asyncio.open_connection(node.host, port,
                                                                     limit=4 * CHUNK)
        except OSError:
            writer.close()
            return
        both = {writer, back_writer}
        self.writers |= both
        tasks = [asyncio.ensure_future(self.pump(reader, back_writer, Harm(self, seed + ">", ends))),
                 asyncio.ensure_future(self.pump(back_reader, writer, Harm(self, seed + "<", ends)))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for w in both:
                w.close()
            self.writers -= both

    async def pump(self, reader, writer, harm):
        """Ends when one side does, or when the harm is to end it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while chunk := await reader.read(CHUNK):
                fault = harm.draw()
                if fault:
                    self.count[fault] += 1
                if not await self.pass_on(chunk, fault, writer, harm):
                    return

    async def pass_on(self, chunk, fault, writer, harm):
        if fault == "reorder" and harm.held is None:
            harm.held = chunk
            return True
        if fault == "stall":
            await asyncio.sleep(STALL_SECONDS)
        elif fault == "delay":
            await asyncio.sleep(harm.rng.uniform(0.02, 0.4))
        elif fault == "flip":
            chunk = harm.flip(chunk)
        elif fault == "truncate":
            chunk = chunk[: harm.rng.randrange(len(chunk))]
        writer.write(chunk)
        if fault == "duplicate":
            writer.write(chunk)
        if harm.held is not None:
            writer.write(harm.held)
            harm.held = None
        await writer.drain()
        return fault != "truncate"
