"""The log on Kafka: writing with acknowledgement, reading to the end, and following compacted topics."""

from csqa_loop.log.follower import Follower
from csqa_loop.log.producer import KafkaBus
from csqa_loop.log.reader import Record, end_offsets, read_to_end
from csqa_loop.log.spool import Spool
from csqa_loop.log.spooled import SpooledBus, Waiting

__all__ = ["Follower", "KafkaBus", "Record", "Spool", "SpooledBus", "Waiting", "end_offsets", "read_to_end"]
