// Package scaling answers the calls of Auto Scaling and Elastic Load Balancing, and those for launch templates. Groups
// are records of size nought in moto: their instances are launched and ended here, as those of RunInstances are.
//
// Limits: groups have a launch template, and no more instances than one launch may have. An instance refresh launches
// before it ends, and knows no alarms, warm pools or standby. A network load balancer is reached at the elastic
// addresses that it was made with, and at no other.
package scaling
