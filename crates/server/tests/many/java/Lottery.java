import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.Date;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The other side of the topic, as the chapter has it: its InvoiceVO, fastjson and Kafka's own
 * client for Java, and nothing of ours. A Spring listener and a KafkaTemplate come to the same
 * calls.
 */
public class Lottery {

    /** As in the chapter, field for field. */
    public static class InvoiceVO {
        private String uId;
        private Long orderId;
        private String awardId;
        private Integer awardType;
        private String awardName;
        private String awardContent;
        private ShippingAddress shippingAddress;
        private String extInfo;

        public String getuId() { return uId; }
        public void setuId(String uId) { this.uId = uId; }
        public Long getOrderId() { return orderId; }
        public void setOrderId(Long orderId) { this.orderId = orderId; }
        public String getAwardId() { return awardId; }
        public void setAwardId(String awardId) { this.awardId = awardId; }
        public Integer getAwardType() { return awardType; }
        public void setAwardType(Integer awardType) { this.awardType = awardType; }
        public String getAwardName() { return awardName; }
        public void setAwardName(String awardName) { this.awardName = awardName; }
        public String getAwardContent() { return awardContent; }
        public void setAwardContent(String awardContent) { this.awardContent = awardContent; }
        public ShippingAddress getShippingAddress() { return shippingAddress; }
        public void setShippingAddress(ShippingAddress it) { this.shippingAddress = it; }
        public String getExtInfo() { return extInfo; }
        public void setExtInfo(String extInfo) { this.extInfo = extInfo; }
    }

    /** As in the chapter, some of its fields. */
    public static class ShippingAddress {
        private String name;
        private String provinceName;
        private String address;
        private String phone;

        public String getName() { return name; }
        public void setName(String name) { this.name = name; }
        public String getProvinceName() { return provinceName; }
        public void setProvinceName(String provinceName) { this.provinceName = provinceName; }
        public String getAddress() { return address; }
        public void setAddress(String address) { this.address = address; }
        public String getPhone() { return phone; }
        public void setPhone(String phone) { this.phone = phone; }
    }

    /** What teams add to it: fastjson writes an instant as milliseconds. */
    public static class LaterInvoiceVO extends InvoiceVO {
        private Date stateTime;

        public Date getStateTime() { return stateTime; }
        public void setStateTime(Date stateTime) { this.stateTime = stateTime; }
    }

    /** Beyond what a double holds. */
    private static final long ORDER = 1662799798929063936L;
    private static final int WAIT_SECONDS = 60;

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        switch (args[0]) {
            case "golden":
                golden(out);
                break;
            case "consume":
                consume(args[1], args[2], Integer.parseInt(args[3]), out);
                break;
            case "produce":
                produce(args[1], args[2]);
                break;
            default:
                throw new IllegalArgumentException(args[0]);
        }
    }

    private static InvoiceVO fill(InvoiceVO it, Long order, String awardId, Integer type, String name, String content) {
        it.setuId("xiaofuge");
        it.setOrderId(order);
        it.setAwardId(awardId);
        it.setAwardType(type);
        it.setAwardName(name);
        it.setAwardContent(content);
        return it;
    }

    /** Lines as the Java system's fastjson writes them. */
    private static void golden(PrintStream out) {
        InvoiceVO whole = fill(new InvoiceVO(), ORDER, "1", 1, "IMac", "Code");
        out.println(JSON.toJSONString(whole));
        out.println(JSON.toJSONString(fill(new InvoiceVO(), Long.MAX_VALUE, "2", 2, "兑换码", null)));
        out.println(JSON.toJSONString(fill(new InvoiceVO(), 1L, "3", null, null, null)));
        out.println(JSON.toJSONString(
                fill(new InvoiceVO(), ORDER + 1, "4", 4, "\"<b>'奖'</b>\"\t\\ 😀", "line\nline\u2028\u0001")));
        InvoiceVO sent = fill(new InvoiceVO(), ORDER + 2, "4", 4, "Code", "Code");
        ShippingAddress address = new ShippingAddress();
        address.setName("小傅哥");
        address.setAddress("1 Some Street");
        sent.setShippingAddress(address);
        sent.setExtInfo("{\"a\":1}");
        out.println(JSON.toJSONString(sent));
        out.println(JSON.toJSONString(whole, SerializerFeature.WriteMapNullValue));
        LaterInvoiceVO later = new LaterInvoiceVO();
        fill(later, ORDER + 3, "1", 1, "IMac", "Code");
        later.setStateTime(new Date(1662799798929L));
        out.println(JSON.toJSONString(later));
    }

    /** Reads so many messages in a group of its own, one line each: the getters' values, tabs between. */
    private static void consume(String brokers, String topic, int count, PrintStream out) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("group.id", "listener_" + topic);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        long until = System.nanoTime() + Duration.ofSeconds(WAIT_SECONDS).toNanos();
        int read = 0;
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(Collections.singletonList(topic));
            while (read < count && System.nanoTime() < until) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    InvoiceVO it = JSON.parseObject(record.value(), InvoiceVO.class);
                    out.println(String.join("\t", record.key(), it.getuId(), "" + it.getOrderId(),
                            it.getAwardId(), "" + it.getAwardType(), it.getAwardName(), "" + it.getAwardContent()));
                    read++;
                }
            }
            consumer.commitSync();
        }
    }

    /**
     * Sends what it reads from its input, a message a line, as the chapter's producer does: no
     * key, no headers. A line is either tab-separated (user, order, awardId, type, name), or
     * text that begins with an exclamation mark and goes out as it is.
     */
    private static void produce(String brokers, String topic) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("acks", "all");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String value = line.substring(1);
                if (!line.startsWith("!")) {
                    String[] it = line.split("\t");
                    InvoiceVO invoice = fill(new InvoiceVO(), Long.valueOf(it[1]), it[2], Integer.valueOf(it[3]), it[4], "Code");
                    invoice.setuId(it[0]);
                    value = JSON.toJSONString(invoice);
                }
                producer.send(new ProducerRecord<>(topic, value)).get();
            }
        }
    }
}
