// Package targets asks the targets of load balancers for their health, at the port and the path of their target group,
// and knows which are drained.
//
// Limits: targets are the instances of Auto Scaling groups; those that are registered by hand are moto's records. It
// decides nothing: package vpc passes connections to those that are healthy, package scaling replaces the others.
package targets
