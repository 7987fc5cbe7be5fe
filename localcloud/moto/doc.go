// Package moto speaks to moto, the API server that knows EC2's rules, and makes it remember: each changing call that
// succeeded is a line in a journal, with the seed that moto's random numbers had, and is replayed to a fresh moto. A
// line is written before the caller learns of the outcome. The ledger tells which lines are about what came and went;
// they are left out when the journal is compacted.
//
// Limits: changing calls are made one at a time, as moto's ids depend on their order. Nothing here is real: machines,
// disks and networks are made by the packages that use it.
package moto
