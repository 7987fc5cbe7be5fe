// Package eni reads and completes descriptions of network interfaces, as moto has them: addresses, MAC address, public
// name.
//
// Limits: an instance has one interface that is real, the first.
package eni
