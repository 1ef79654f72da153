//! Packets: tunnels, routing, liveness. Pure, with an optional shell of TUN and UDP.
