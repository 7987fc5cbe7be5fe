package ec2fake

import (
	"maps"
	"reflect"
	"strings"
)

// operations are the calls that the account answers, by service and name.
var operations = func() map[string]func(*Region, any) (any, error) {
	all := map[string]func(*Region, any) (any, error){}
	for service, parts := range map[string][]map[string]func(*Region, any) (any, error){
		"EC2": {
			instanceOperations, interfaceOperations, keyOperations, templateOperations, imageOperations,
			sharingOperations, volumeOperations, vpcOperations, routeOperations, groupOperations, addressOperations,
			regionOperations,
		},
		"IAM":                       {roleOperations},
		"SSM":                       {parameterOperations},
		"STS":                       {callerOperations},
		"Auto Scaling":              {scalingOperations, refreshOperations},
		"Elastic Load Balancing v2": {balancerOperations, targetOperations},
	} {
		for _, part := range parts {
			for name, do := range part {
				all[service+"."+name] = do
			}
		}
	}
	return all
}()

// ops puts operations under their names.
func ops(all ...map[string]func(*Region, any) (any, error)) map[string]func(*Region, any) (any, error) {
	merged := map[string]func(*Region, any) (any, error){}
	for _, one := range all {
		maps.Copy(merged, one)
	}
	return merged
}

// op is an operation by the name of its input.
func op[I, O any](do func(*Region, *I) (*O, error)) map[string]func(*Region, any) (any, error) {
	name := strings.TrimSuffix(reflect.TypeFor[I]().Name(), "Input")
	return map[string]func(*Region, any) (any, error){name: func(r *Region, in any) (any, error) {
		out, err := do(r, in.(*I))
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = new(O)
		}
		return out, nil
	}}
}
