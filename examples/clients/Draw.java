import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.time.Duration;

/** Draws once for one order. Safe to run again: the same order gives the same answer. */
public class Draw {
    static String draw(String campaign, String user, String order) throws InterruptedException {
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create(System.getenv("TOMBOLA_URL") + "/v1/campaigns/" + campaign + "/draws"))
            .header("Authorization", "Bearer " + System.getenv("TOMBOLA_API_KEY"))
            .header("Content-Type", "application/json").header("Idempotency-Key", "order-" + order)
            .timeout(Duration.ofSeconds(10))
            .POST(HttpRequest.BodyPublishers.ofString("{\"user\":\"" + user + "\"}")).build();
        for (int attempt = 0; attempt < 6; attempt++) {
            long wait = 100L << attempt;
            try {
                var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() == 201) return answer.body();
                if (answer.statusCode() != 429 && answer.statusCode() != 503) throw new IllegalStateException(answer.body()); // nothing was drawn
                wait = 1000 * answer.headers().firstValueAsLong("Retry-After").orElse(1);
            } catch (IOException noAnswer) { } // whether it was drawn is unknown, so ask again with the same key
            Thread.sleep(wait);
        }
        throw new IllegalStateException("no answer; run this again with the same order");
    }

    public static void main(String[] args) throws InterruptedException {
        System.out.println(draw(args[0], args[1], args[2]));
    }
}
