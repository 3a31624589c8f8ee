/*
 * The init of the guest in user_mode_linux.rs: tries each device, prints one "result:" line for
 * each thing tried, and powers off. With task=read it only looks for what task=write left.
 */
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_LAYER_OFFSET (64 << 20)
#define HOLE_OFFSET (32 << 20)
#define SUPER_OFFSET 1024
#define PIECE_BYTES 65536
#define PIECES 256
#define MTU 65520
/* Free for experiments (IEEE 802): nobody but the test answers it. */
#define ETHER_TYPE 0x88b5

static char piece[PIECE_BYTES];
static char back[PIECE_BYTES];

static void result(const char *name, int good)
{
	if (good)
		printf("result: %s ok\n", name);
	else
		printf("result: %s failed, errno %d\n", name, errno);
	fflush(stdout);
}

static int task_is(const char *task)
{
	static char line[4096];
	int file = open("/proc/cmdline", O_RDONLY);
	ssize_t length = read(file, line, sizeof line - 1);

	close(file);
	return length > 0 && strstr(line, task) != NULL;
}

static int file_holds(const char *path, const char *expected)
{
	char text[64] = "";
	int file = open(path, O_RDONLY);
	ssize_t length = read(file, text, sizeof text - 1);

	close(file);
	return length > 0 && strcmp(text, expected) == 0;
}

static void try_random(void)
{
	int file = open("/dev/hwrng", O_RDONLY);

	result("hwrng", read(file, back, 64) == 64);
	close(file);
}

/* Sends a frame of this length to ourselves; what stands behind the NIC returns it. */
static int frame_returns(int packets, const unsigned char *address, int length)
{
	for (int i = ETH_HLEN; i < length; i++)
		piece[i] = i * 7;
	memcpy(piece, address, ETH_ALEN);
	memcpy(piece + ETH_ALEN, address, ETH_ALEN);
	*(unsigned short *)(piece + 2 * ETH_ALEN) = htons(ETHER_TYPE);
	return send(packets, piece, length, 0) == length &&
	       recv(packets, back, PIECE_BYTES, 0) == length &&
	       memcmp(piece, back, length) == 0;
}

static void try_network(void)
{
	int packets = socket(AF_PACKET, SOCK_RAW, htons(ETHER_TYPE));
	struct ifreq nic = { .ifr_name = "eth0" };
	struct sockaddr_ll here = { .sll_family = AF_PACKET, .sll_protocol = htons(ETHER_TYPE) };
	unsigned char address[ETH_ALEN];

	result("mtu", ioctl(packets, SIOCGIFMTU, &nic) == 0 && nic.ifr_mtu == MTU);
	ioctl(packets, SIOCGIFHWADDR, &nic);
	memcpy(address, nic.ifr_hwaddr.sa_data, ETH_ALEN);
	result("address", memcmp(address, "\2dhow\1", ETH_ALEN) == 0);
	here.sll_ifindex = if_nametoindex("eth0");
	nic.ifr_flags = IFF_UP;
	result("up", ioctl(packets, SIOCSIFFLAGS, &nic) == 0 &&
			bind(packets, (struct sockaddr *)&here, sizeof here) == 0);
	result("frames", frame_returns(packets, address, 60) &&
			frame_returns(packets, address, 1514) &&
			frame_returns(packets, address, MTU + ETH_HLEN) &&
			frame_returns(packets, address, 60));
	close(packets);
}

static void try_layers(void)
{
	int disk = open("/dev/vda", O_RDONLY);
	int same, empty = 1, length, read_only = 0;

	result("erofs", mount("/dev/vda", "/layer", "erofs", MS_RDONLY, "") == 0 &&
			file_holds("/layer/hello", "hello\n"));
	same = pread(disk, piece, PIECE_BYTES, 0) == PIECE_BYTES &&
	       pread(disk, back, PIECE_BYTES, SECOND_LAYER_OFFSET) == PIECE_BYTES &&
	       piece[SUPER_OFFSET] != 0 && memcmp(piece, back, PIECE_BYTES) == 0;
	result("second layer", same);
	length = pread(disk, back, PIECE_BYTES, HOLE_OFFSET);
	for (int i = 0; i < length; i++)
		empty &= back[i] == 0;
	result("hole", length == PIECE_BYTES && empty);
	result("read only", ioctl(disk, BLKROGET, &read_only) == 0 && read_only);
	close(disk);
}

static void try_writing(void)
{
	int file = open("/data/large", O_CREAT | O_RDWR, 0644);
	int good = file >= 0;
	struct fstrim_range all = { .len = ~0ULL };

	memset(piece, 0x5a, PIECE_BYTES);
	for (int i = 0; i < PIECES; i++)
		good &= write(file, piece, PIECE_BYTES) == PIECE_BYTES;
	result("write", good && fsync(file) == 0);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	good = 1;
	for (int i = 0; i < PIECES; i++)
		good &= pread(file, back, PIECE_BYTES, (off_t)i * PIECE_BYTES) == PIECE_BYTES &&
			memcmp(piece, back, PIECE_BYTES) == 0;
	result("verify", good);
	close(file);
	unlink("/data/large");
	sync();
	file = open("/data", O_RDONLY);
	result("trim", ioctl(file, FITRIM, &all) == 0);
	close(file);
	file = open("/data/kept", O_CREAT | O_WRONLY, 0644);
	result("keep", write(file, "kept\n", 5) == 5 && fsync(file) == 0);
	close(file);
}

int main(void)
{
	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/layer", 0755);
	mkdir("/data", 0755);
	mount("dev", "/dev", "devtmpfs", 0, "");
	mount("proc", "/proc", "proc", 0, "");
	if (task_is("task=write")) {
		try_random();
		try_network();
		try_layers();
	}
	result("ext4", mount("/dev/vdb", "/data", "ext4", 0, "") == 0);
	if (task_is("task=write"))
		try_writing();
	else
		result("kept", file_holds("/data/kept", "kept\n"));
	umount("/data");
	printf("result: done\n");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
