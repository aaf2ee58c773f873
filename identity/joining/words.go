package joining

import (
	"crypto/sha256"
	"strings"
)

// wordsOf are the four words that two people compare: 32 bits of a hash of all
// that both sides sent. That is enough only because neither side can search
// for it, see window.go.
func wordsOf(transcript []byte) string {
	list := strings.Fields(wordList)
	sum := sha256.Sum256(transcript)
	chosen := make([]string, 4)
	for i := range chosen {
		chosen[i] = list[sum[i]]
	}
	return strings.Join(chosen, "-")
}

// wordList are 256 short plain words, in the order of their values.
const wordList = `
acorn album amber anchor angel apple april apron arrow atlas attic autumn
bacon bagel banana banjo barn basil basket beach beaver bell berry bicycle
birch biscuit blanket bonfire book boot bottle bread brick bridge broom
bucket butter button cabin cactus camel candle canoe carpet carrot castle
cello chair cheese cherry chimney circus clock cloud clover cobra coconut
coffee comet cookie copper coral cotton cousin cradle crayon cricket crown
cup curtain daisy dancer desert diamond dinner doctor dolphin donkey door
dragon drum duck eagle earth easel elbow engine falcon farmer feather
fence fiddle finger fire flute forest fossil fountain fox frog garden
garlic ghost giant ginger giraffe glove goat gold grape guitar hammer hat
hazel helmet hermit hill honey horse hotel house igloo island ivory jacket
jaguar jelly jewel jungle kettle kite kitten koala ladder lamp lantern
lemon letter lion lizard lobster lotus magnet mango maple marble melon
meteor mirror monkey moon mother mouse muffin museum music napkin needle
nest night noodle nurse oak ocean octopus olive onion opera orange orchid
otter oven oyster paddle palace panda paper parrot pasta peach pencil
penguin pepper piano picnic pigeon pillow pirate planet plum pocket poem
potato prince pumpkin puzzle queen rabbit radio rain raven ribbon river
robin rocket rose ruby saddle sailor salmon sandal scarf school shadow
shark shell silver singer snail soup spider spoon squirrel star statue
summer swan table teapot temple thunder ticket tiger tomato tower train
tulip turtle umbrella valley velvet village violin volcano wagon walnut
water whale wheel window winter wizard yellow yogurt zebra zipper
`
