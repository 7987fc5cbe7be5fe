// Package vpc answers the calls for networks: VPCs, subnets, NAT gateways, security groups, elastic addresses and
// network interfaces. Network makes of the records a topology, and package host makes that real. What EC2 checks and
// moto does not is checked here: what depends on what, rules that no firewall can have, addresses that another has.
//
// Limits: an instance keeps the one interface that it was launched with; others are records whose addresses are taken.
package vpc
