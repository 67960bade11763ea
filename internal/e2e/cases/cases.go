// Package cases holds what hosts, providers and callers have been seen to send, one row
// for each case: the bytes of the backends, the bytes of the caller, what must come back,
// how often a backend may be asked for it, and whose circuit breakers stay closed. The
// tests run every row over the real program, with backends that send these bytes.
package cases
