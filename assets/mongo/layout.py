"""Layout of the tables that the walker runs on: byte offsets into records of 64-bit integers, and its codes.

`plan` writes these records, `walker` reads them, `columns` grows the buffers they point to. A pointer is the
address of another record or buffer; 0 is none.
"""

from __future__ import annotations

# Kinds of targets: what a value becomes.
INT64, UINT64, FLOAT64, BOOL, TIMESTAMP, STRING, BINARY, OBJECTID, UUID, DECIMAL128, RAW = range(11)
LIST, STRUCT, ANY_OF = 11, 12, 13

# Node: a place in the documents that some field's path names.
NODE_TARGET = 0  # first target that takes the value here; further ones by TARGET_NEXT
NODE_LEAF = 8  # 1: exactly one scalar target and nothing below
NODE_EDGES = 16  # first of the edges to the nodes below
NODE_NUM_EDGES = 24
NODE_BY_INDEX = 32  # 1: at least one edge is an array index
NODE_TABLE = 40  # hash table of edges by name: a power of two of pointers
NODE_MASK = 48  # size of that table less one
NODE_SCOPE = 56  # scope whose targets are at the node and below
NODE_BYTES = 64

# Edge: a name (or index) below a node.
EDGE_NODE = 0
EDGE_WORD = 8  # the first eight bytes of the name, zero padded, little endian
EDGE_LENGTH = 16
EDGE_NAME = 24  # address of the whole name
EDGE_INDEX = 32  # array index, -1 where the name is no number
EDGE_SEEN = 40  # stamp of the last document that had it: tells duplicate keys
EDGE_FOLLOWED = 48  # edge that came after it last time: tried first
EDGE_MASK = 56  # which of the first eight bytes are the name and its zero byte
EDGE_WORD_2 = 64  # the next eight bytes of the name
EDGE_MASK_2 = 72
EDGE_SPAN = 80  # bytes of type, name and zero byte
EDGE_LEAF = 88  # target of a leaf whose name has at most MAX_QUICK_NAME bytes, else 0
EDGE_BYTES = 96
MAX_QUICK_NAME = 15

# Target: one Arrow array under construction.
TARGET_KIND = 0
TARGET_NEXT = 8
TARGET_SCOPE = 16  # the scope that it is a column of
TARGET_NULLABLE = 24
TARGET_COERCE = 32
TARGET_KEEP_NULL = 40  # raw values that may be BSON null
TARGET_PLAIN = 48  # BSON type of eight bytes that is stored as it is, -1 for none
TARGET_LOW = 56  # 64 bits, of the kind of the target
TARGET_HIGH = 64
TARGET_FIXED = 72  # length of a list of fixed length, else -1
TARGET_INNER = 80  # scope of the elements, members or alternatives
TARGET_LENGTH = 88  # entries written
TARGET_CAPACITY = 96  # entries that fit
TARGET_VALID = 104  # one byte an entry
TARGET_DATA = 112  # fixed width: `width` bytes an entry; else variable bytes
TARGET_WIDTH = 120
TARGET_OFFSETS = 128  # 64-bit offsets of bytes or elements, capacity + 1
TARGET_DATA_CAPACITY = 136  # variable bytes that fit
TARGET_ACCEPTS = 144  # bit t: BSON type t is taken as it is
TARGET_NULLS = 152  # pairs (target, entries) that one null entry is made of, this target first
TARGET_NUM_NULLS = 160
TARGET_SIMPLE = 168  # bit t: values of BSON type t need no conversion and no choice
TARGET_BYTES = 176

# Scope: targets that get exactly one entry each, together.
SCOPE_NODE = 0
SCOPE_TARGETS = 8
SCOPE_NUM_TARGETS = 16
SCOPE_COUNT = 24  # complete rows of this scope
SCOPE_FILLED = 32  # targets that the row under way has filled
SCOPE_PARENT = 40  # target that owns the scope, 0 for the documents themselves
SCOPE_LEAF = 48  # 1: the node is one scalar target and nothing else
SCOPE_BYTES = 56

# State: one walker.
STATE_POSITION = 0  # next byte of the batch
STATE_END = 8
STATE_ARRAY = 16  # 1: documents are the elements of a BSON array's body, 0: they follow one another
STATE_ROOT = 24  # scope of the documents
STATE_SCOPES = 32
STATE_NUM_SCOPES = 40
STATE_MAX_ROWS = 48
STATE_STAMP = 56
STATE_ENDS = 64  # stack of the validator, MAX_DEPTH entries
STATE_REJECTS = 72
STATE_NUM_REJECTS = 80
STATE_MAX_REJECTS = 88
STATE_FULL_TARGET = 96  # target whose buffers are too small
STATE_FULL_BYTES = 104  # variable bytes it needs, 0 when it needs entries
STATE_ERROR_TARGET = 112
STATE_ERROR_NODE = 120
STATE_ERROR_TYPE = 128
STATE_ERROR_VALUE = 136  # address of the value
STATE_ERROR_EXTRA = 144
STATE_INDEXES = 152  # array index at each depth of lists
STATE_LIST_DEPTH = 160
STATE_WANTED = 168  # values that Python must convert
STATE_NUM_WANTED = 176
STATE_MAX_WANTED = 184
STATE_PATCHES = 192  # values that Python converted
STATE_NUM_PATCHES = 200
STATE_DOCUMENT = 208  # address of the document under way, or of the last one
STATE_NEXT_PATCH = 216
STATE_SIZES = 224  # size or SIZE_* class of each of the 256 BSON types
STATE_FRAMES = 232  # stack of the walker, MAX_FRAMES frames
STATE_BYTES = 240

# Frame: a container that the walker is inside of.
FRAME_KIND = 0
FRAME_NODE = 8
FRAME_TARGET = 16  # next target at the node; or the list or struct that is being filled
FRAME_TYPE = 24
FRAME_ADDRESS = 32
FRAME_END = 40
FRAME_POSITION = 48
FRAME_STAMP = 56
FRAME_PREVIOUS = 64  # edge that the last known name was
FRAME_ELEMENTS = 72
FRAME_PENDING = 80  # 1: an element is complete but not yet counted
FRAME_DEPTH = 88
FRAME_BYTES = 96
VALUE, INSIDE, ELEMENTS, MEMBERS = range(4)

# Reject: one document that does not fit.
REJECT_DOCUMENT = 0
REJECT_REASON = 8
REJECT_TARGET = 16
REJECT_NODE = 24
REJECT_TYPE = 32
REJECT_VALUE = 40
REJECT_EXTRA = 48
REJECT_INDEXES = 56
MAX_INDEXES = 9
REJECT_BYTES = REJECT_INDEXES + 8 * MAX_INDEXES

# A value that waits for a conversion, and one that has it.
WANTED_VALUE = 0
WANTED_TARGET = 8
WANTED_TYPE = 16
WANTED_END = 24
WANTED_BYTES = 32
PATCH_VALUE = 0
PATCH_TARGET = 8
PATCH_TYPE = 16  # BSON type of the converted value, PATCH_BITS, or minus the reason why there is none
PATCH_DATA = 24
PATCH_END = 32
PATCH_BYTES = 40
PATCH_BITS = 256  # the data are the eight bytes of the entry, bounds already checked

# Outcomes of a value or a document.
OK = 0
MISSING, NULL, WRONG_TYPE, OUT_OF_RANGE, INEXACT, WRONG_LENGTH, DUPLICATE, BAD_UTF8, CORRUPT, TOO_DEEP = (
    range(1, 11)
)
GROW = 11  # a buffer is too small; nothing of the document is kept
CONVERT = 12  # values wait for a conversion; nothing of the document is kept
FULL = 13  # enough rows or rejects
BROKEN = 14  # the frame of the batch itself cannot be read

MAX_DEPTH = 200  # the server's own limit on nesting
MAX_FRAMES = 3 * MAX_DEPTH + 8

# Sizes of BSON types that are no fixed number of bytes.
SIZE_UNKNOWN, SIZE_TEXT, SIZE_CONTAINER, SIZE_BINARY, SIZE_REGEX, SIZE_DBPOINTER, SIZE_SCOPE, SIZE_BOOL = (
    range(-1, -9, -1)
)

# BSON types.
T_DOUBLE, T_STRING, T_DOCUMENT, T_ARRAY, T_BINARY, T_UNDEFINED, T_OBJECTID, T_BOOL = range(1, 9)
T_DATE, T_NULL, T_REGEX, T_DBPOINTER, T_CODE, T_SYMBOL, T_CODE_WITH_SCOPE, T_INT32 = range(9, 17)
T_TIMESTAMP, T_INT64, T_DECIMAL128 = range(17, 20)
T_MAXKEY, T_MINKEY = 0x7F, 0xFF
