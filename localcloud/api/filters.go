package api

// instanceFilters says where in an instance's description the values of a filter are; a * is each element of a list.
var instanceFilters = map[string]string{
	"architecture": "architecture", "availability-zone": "placement/availabilityZone", "client-token": "clientToken", "dns-name": "dnsName",
	"hypervisor": "hypervisor", "iam-instance-profile.arn": "iamInstanceProfile/arn", "iam-instance-profile.id": "iamInstanceProfile/id",
	"image-id": "imageId", "instance-id": "instanceId", "instance-lifecycle": "instanceLifecycle", "instance-type": "instanceType",
	"instance-state-name": "instanceState/name", "instance-state-code": "instanceState/code",
	"instance.group-id": "groupSet/*/groupId", "instance.group-name": "groupSet/*/groupName", "group-id": "groupSet/*/groupId", "group-name": "groupSet/*/groupName",
	"ip-address": "ipAddress", "key-name": "keyName", "launch-index": "amiLaunchIndex", "launch-time": "launchTime", "monitoring-state": "monitoring/state",
	"owner-id": "ownerId", "platform": "platform", "private-dns-name": "privateDnsName", "private-ip-address": "privateIpAddress", "reason": "reason",
	"reservation-id": "reservationId", "root-device-name": "rootDeviceName", "root-device-type": "rootDeviceType", "source-dest-check": "sourceDestCheck",
	"state-reason-code": "stateReason/code", "subnet-id": "subnetId", "tag-key": "tagSet/*/key", "tag-value": "tagSet/*/value",
	"tenancy": "placement/tenancy", "virtualization-type": "virtualizationType", "vpc-id": "vpcId",
	"metadata-options.http-tokens": "metadataOptions/httpTokens", "metadata-options.http-endpoint": "metadataOptions/httpEndpoint",
	"metadata-options.instance-metadata-tags":            "metadataOptions/instanceMetadataTags",
	"block-device-mapping.delete-on-termination":         "blockDeviceMapping/*/ebs/deleteOnTermination",
	"block-device-mapping.device-name":                   "blockDeviceMapping/*/deviceName",
	"block-device-mapping.status":                        "blockDeviceMapping/*/ebs/status",
	"block-device-mapping.volume-id":                     "blockDeviceMapping/*/ebs/volumeId",
	"network-interface.addresses.private-ip-address":     "networkInterfaceSet/*/privateIpAddressesSet/*/privateIpAddress",
	"network-interface.addresses.association.public-ip":  "networkInterfaceSet/*/association/publicIp",
	"network-interface.association.public-ip":            "networkInterfaceSet/*/association/publicIp",
	"network-interface.attachment.attachment-id":         "networkInterfaceSet/*/attachment/attachmentId",
	"network-interface.attachment.delete-on-termination": "networkInterfaceSet/*/attachment/deleteOnTermination",
	"network-interface.attachment.device-index":          "networkInterfaceSet/*/attachment/deviceIndex",
	"network-interface.group-id":                         "networkInterfaceSet/*/groupSet/*/groupId",
	"network-interface.group-name":                       "networkInterfaceSet/*/groupSet/*/groupName",
	"network-interface.mac-address":                      "networkInterfaceSet/*/macAddress",
	"network-interface.network-interface-id":             "networkInterfaceSet/*/networkInterfaceId",
	"network-interface.owner-id":                         "networkInterfaceSet/*/ownerId",
	"network-interface.status":                           "networkInterfaceSet/*/status",
	"network-interface.subnet-id":                        "networkInterfaceSet/*/subnetId",
	"network-interface.vpc-id":                           "networkInterfaceSet/*/vpcId",
}

var imageFilters = map[string]string{
	"architecture": "architecture", "creation-date": "creationDate", "description": "description", "ena-support": "enaSupport", "hypervisor": "hypervisor",
	"image-id": "imageId", "image-type": "imageType", "is-public": "isPublic", "manifest-location": "imageLocation", "name": "name",
	"owner-alias": "imageOwnerAlias", "owner-id": "imageOwnerId", "platform": "platform", "root-device-name": "rootDeviceName",
	"root-device-type": "rootDeviceType", "state": "imageState", "state-reason-code": "stateReason/code", "tag-key": "tagSet/*/key", "tag-value": "tagSet/*/value",
	"virtualization-type":                        "virtualizationType",
	"block-device-mapping.delete-on-termination": "blockDeviceMapping/*/ebs/deleteOnTermination",
	"block-device-mapping.device-name":           "blockDeviceMapping/*/deviceName",
	"block-device-mapping.encrypted":             "blockDeviceMapping/*/ebs/encrypted",
	"block-device-mapping.snapshot-id":           "blockDeviceMapping/*/ebs/snapshotId",
	"block-device-mapping.volume-size":           "blockDeviceMapping/*/ebs/volumeSize",
	"block-device-mapping.volume-type":           "blockDeviceMapping/*/ebs/volumeType",
}

var natFilters = map[string]string{
	"nat-gateway-id": "natGatewayId", "state": "state", "subnet-id": "subnetId", "vpc-id": "vpcId", "tag-key": "tagSet/*/key", "tag-value": "tagSet/*/value",
}
