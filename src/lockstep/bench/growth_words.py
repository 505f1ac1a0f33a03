"""What the growth page says of each curve: title, reason, law; no figures, those are measured."""

from typing import Final

from lockstep.bench.growth_laws import (
    Growth,
    GrowthGroup,
    derive_sent_bytes,
    derive_signatures,
    fit_constant,
    fit_line,
    fit_logarithm,
    fit_messages,
    fit_share,
)

GROUPS: Final = (
    GrowthGroup(
        "nodes",
        "A batch travels once to every other member and is checked once by each. Every member says"
        " two words on it, a Vote and a Confirm, each a bitmap of one bit a payment and one"
        " signature of 64 bytes. So a network of n sends 2n(n - 1) words a batch in all, and a node"
        " takes in 2(n - 1), shared by up to 400 payments. A height adds two ballots of each"
        " member, and its proposal carries the certificate of the height below: a signature for"
        " each of the quorum Q. Certificates of payments are counted from the words and not sent; a"
        " node that lacks one pulls its words, Q of 192 bytes for a whole batch. All sizes got the"
        " same payments in the same time; h is the number of payments a height, about 640 here. On"
        " a busy network it is larger and what a height costs is shared by more.",
        (
            Growth(
                "signatures_by_nodes",
                "Signatures judged a payment and node",
                "signatures",
                "The payments of other nodes' people, the words of others, their ballots, and from"
                " proposals the proposer's word and the certificate carried.",
                derive_signatures,
            ),
            Growth(
                "sent_bytes_by_nodes",
                "Bytes sent a payment and node",
                "bytes",
                "Each payment is sent n - 1 times by one of n nodes, so this part nears 230 bytes"
                " and stays there. Words and ballots grow with n. Frame headers and TLS are not in"
                " it: 4 bytes a frame and 22 a write.",
                derive_sent_bytes,
            ),
            Growth(
                "cpu_us_by_nodes",
                "CPU a payment and node",
                "microseconds",
                "The work on a payment itself does not know how many members there are. A message"
                " costs its decoding, its signature and one step of the core, whatever the number"
                " of payments it speaks about; so the growth is that of the number of messages.",
                fit_messages,
            ),
            Growth(
                "tally_bytes_by_nodes",
                "Memory of a payment in the tallies of an epoch",
                "bytes",
                "For each payment its locks, its place and its promise; for each member two words"
                " of a batch, shared by its 400 payments. All of it goes with the epoch.",
                fit_line,
            ),
        ),
    ),
    GrowthGroup(
        "coins",
        "Coins live in a table of LMDB, a tree whose pages the system keeps in its own cache; a"
        " bounded part of them is cached as Python objects. Nothing on the way of a payment looks"
        " at all coins.",
        (
            Growth(
                "coin_disk_bytes_by_coins",
                "Disk of a coin, indexes included",
                "bytes",
                "The coin, its row in the index of addresses, and its share of the block that made"
                " it. Pages of a tree that is filled at random places are about two thirds full.",
                fit_constant,
            ),
            Growth(
                "coin_cache_bytes_by_coins",
                "Memory of a cached coin",
                "bytes",
                "An outpoint, a lock, two integers and a slot of a dictionary; the number of cached"
                " coins is bounded, so memory does not grow with the chain.",
                fit_constant,
            ),
            Growth(
                "waiting_bytes_by_coins",
                "Memory of a coin that is not in the tables yet",
                "bytes",
                "What blocks made since the last flush: the coin, with its block's change that the"
                " flush will write. How much may wait for one is bounded.",
                fit_constant,
            ),
            Growth(
                "coin_read_cold_us_by_coins",
                "CPU to read a coin from the table",
                "microseconds",
                "A search down a tree: one more level when there are some fifty times more coins."
                " The pages are in the system's cache here; from a disk each level that is not"
                " costs an access more.",
                fit_logarithm,
            ),
            Growth(
                "coin_read_cached_us_by_coins",
                "CPU to read a cached coin",
                "microseconds",
                "One look into a dictionary.",
                fit_constant,
            ),
            Growth(
                "commit_us_by_coins",
                "CPU to commit a payment in a block of 400",
                "microseconds",
                "The block is written as it is, in one synced transaction; no coin's row is touched"
                " before anybody may hear of the block.",
                fit_constant,
            ),
            Growth(
                "flush_us_by_coins",
                "CPU to flush a payment to the tables",
                "microseconds",
                "One coin removed and two made, each in the table and in the index of addresses,"
                " and the payment's place; sorted, 8,000 payments at a time. The more coins there"
                " are, the fewer changes share a page of the tree, until each has one to itself.",
                fit_logarithm,
            ),
            Growth(
                "open_s_by_coins",
                "CPU to open the database",
                "seconds",
                "At each start the rows of the tables are counted, because no checksum tells of a"
                " page that has lost some.",
                fit_line,
            ),
        ),
    ),
    GrowthGroup(
        "blocks",
        "One payment a block, so that it is the blocks that count. Blocks are kept for ever, in"
        " order of height.",
        (
            Growth(
                "open_cpu_ms_by_blocks",
                "CPU to open the database",
                "milliseconds",
                "Some files to open and the tip to read; then the rows are counted, of which a"
                " payment has three and a block two.",
                fit_line,
            ),
            Growth(
                "block_read_us_by_blocks",
                "CPU to read a block of any height",
                "microseconds",
                "A search down a tree, the checksum of its pages, and decoding.",
                fit_logarithm,
            ),
            Growth(
                "payment_read_us_by_blocks",
                "CPU to find a payment by its txid",
                "microseconds",
                "Two searches: the index says which bytes of which block it is.",
                fit_logarithm,
            ),
            Growth(
                "block_disk_bytes_by_blocks",
                "Disk of a block with one payment",
                "bytes",
                "The block with the certificate below it and its own, the rows of its index, its"
                " payment and its coins; a short chain shows the pages that a table begins with.",
                fit_share,
            ),
        ),
    ),
)
"""What grows, in the order of the page."""
