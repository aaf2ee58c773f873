// Package firmware shows devices to the house that speak MQTT in their own
// words: for each it is a microdomain that says what their presence topic says.
package firmware
